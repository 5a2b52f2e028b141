// Settings → API → Tokens.

import { change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, choices, field, filter, form, input, once, remover, search, select } from "./form.js";
import { list, picked } from "./list.js";
import { go, setQuery } from "./route.js";
import { me, nameOf, names, refusal } from "./session.js";
import { badge, button, dots, empty, heading, linkButton, row, say, time } from "./ui.js";

/** Every scope with what it allows, the least first. @type {[Scope, string][]} */
export const SCOPES = [
  ["repositories:read", "Read repositories"],
  ["deployments:read", "Read deployments, environments and logs"],
  ["deployments:write", "Deploy, approve, cancel, retry and roll back"],
  ["repositories:write", "Add and change repositories, connections, hooks and environments"],
  ["teams:read", "Read teams"],
  ["account:read", "Read the account, its members and the audit log"],
  ["tokens:read", "Read tokens, without their secrets"],
  ["teams:write", "Manage teams"],
  ["tokens:write", "Create, rotate and revoke tokens"],
  ["account:write", "Manage members, invitations and applications"],
];

/**
 * Creates the choice of scopes. A token can only give scopes that it has itself.
 * @param {string[]} chosen
 * @param {(scope: Scope) => boolean} [offered]
 */
export const scopeChoices = (chosen, offered = () => true) =>
  choices("Scopes", "checkbox", "scopes", SCOPES.filter(([scope]) => offered(scope)).map(([scope, hint]) =>
  ({ value: scope, text: h("code", null, scope), hint,
      reason: me().scopes.includes(scope) ? null : "You signed in without this scope." })), chosen,
    "Choose as few as the program needs.");

/**
 * Creates the choice of a lifetime.
 * @param {{value: string, text: string, reason?: string | null}[]} first what is offered before the others, if anything
 */
function lifetimes(first) {
  const forbidden = me().account.permanent_tokens ? null
    : "The account does not allow permanent tokens. An owner can change that.";
  return choices("Expires", "radio", "expires", [...first,
    { value: "7", text: "in 7 days" }, { value: "30", text: "in 30 days" }, { value: "90", text: "in 90 days" },
    { value: "365", text: "in a year" },
    { value: "never", text: "never", hint: "A permanent token works until somebody revokes it.", reason: forbidden },
  ], [first.length ? "" : "90"]);
}

/** Returns the fields of a chosen lifetime. @param {FormData} values */
function lifetime(values) {
  const expires = values.get("expires");
  return expires === "never" ? { permanent: true } : expires ? { expires_in_days: Number(expires) } : {};
}

/** Shows the scopes of something. @param {string[]} scopes */
export const scopeList = (scopes) =>
  h("span", { class: "codes" }, scopes.length ? scopes.map((scope) => h("code", null, scope)) : "No scopes");

/**
 * Shows the tokens.
 * @param {View} screen
 */
export function tokens(screen) {
  const { query } = screen;
  const everybody = () => query.get("user") === "all";
  const none = refusal("tokens:write");
  const create = () => linkButton("New token", "/settings/api/tokens/new",
    { kind: "primary", icon: "plus", reason: none ?? (me().user ? null : "Only people create tokens.") });
  const shown = list(screen, {
    label: "Tokens", names: () => everybody() ? names() : Promise.resolve({}),
    path: () => `/v1/tokens?per_page=25${picked(query, ["user", "name", "scope"])}`,
    none: () => query.get("name") || query.get("scope") ? empty("key", "No token is found", "No token has such a name and scope.")
      : empty("key", "No tokens yet",
      "Programs call the API with a token. Create one with the few scopes that the program needs.", create()),
    row: (/** @type {Token} */ token, actors, reload) => tokenRow(token, everybody() ? actors : null, reload),
  });
  const admins = refusal("tokens:read", "admin");
  const whose = select("user", [["me", "My tokens"], ["all", "Everybody’s tokens"]], everybody() ? "all" : "me",
    { "aria-label": "Whose tokens", disabled: Boolean(admins), title: admins, onchange: () => {
    query.set("user", whose.value);
    setQuery({ user: whose.value === "all" ? "all" : null });
    shown.restart();
  } });
  return [heading("Tokens", create()),
    h("p", { class: "intro" }, "A token is a password for a program. It acts as you, within its scopes. ",
      h("a", { href: "/docs/guides/authentication" }, "How to use one"), "."),
    h("div", { class: "filters" }, whose, search(query, "name", "Name begins with", shown.restart),
      filter(query, "scope", "Scope",
        [["", "Any scope"], ...SCOPES.map(([scope]) => /** @type {[string, string]} */ ([scope, scope]))], shown.restart),
      admins && h("span", { class: "muted" }, refusal("tokens:read") ?? "Owners and admins also see everybody’s.")), shown];
}

/** @param {Token} token @param {Actors | null} actors the names, if the tokens are everybody's @param {() => void} reload */
function tokenRow(token, actors, reload) {
  const { id, name, scopes, expires_at: expires, last_used_at: used } = token;
  const days = expires ? (Date.parse(expires) - Date.now()) / 86_400_000 : Infinity;
  const mine = token.user_id === me().user?.id;
  const reason = refusal("tokens:write") ?? (mine ? null : "Only its owner can change a token.");
  return row(id, [typed(name), " ", h("code", null, `${token.prefix}…${token.last_four}`),
      id === me().token.id && h("span", { class: "muted" }, " in use by this session")],
    [dots(expires ? [days < 0 ? "Expired " : "Expires ", time(expires)] : "Never expires",
        used ? ["Last used ", time(used)] : "Never used", ["Created ", time(token.created_at)],
        actors && ["of ", typed(nameOf(token.user_id, actors))]), scopeList(scopes)],
    [button("Edit", () => editToken(token, reload), { reason, label: `Edit ${name}` }),
      button("Rotate", () => rotate(token, reload), { reason, label: `Rotate ${name}` }),
      remover("Revoke", name, "Programs that use the token are refused within 30 seconds. This can’t be undone.",
        `/v1/tokens/${id}`, reload, refusal("tokens:write", mine ? "member" : "admin"))],
    days < 0 ? badge("bad", "cross", "Expired") : days < 14 ? badge("wait", "clock", "Expires soon")
      : badge("good", "check", "Valid"));
}

/** The hours for which an old secret works beside the new one. @type {[string, string][]} */
export const OVERLAPS = [["0", "None: the old secret stops working at once"], ["1", "1 hour"], ["24", "24 hours"],
  ["72", "3 days"], ["168", "7 days"]];

/**
 * Asks for another name and other scopes of a token. Its secret stays the same.
 * @param {Token} token
 * @param {() => void} reload
 */
async function editToken({ id, name, scopes }, reload) {
  const given = scopes.filter((scope) => me().scopes.includes(scope));
  const changed = await ask(`Edit ${name}`, [
    field("Name", input("name", { required: true, maxlength: 100, value: name })),
    scopeChoices(scopes),
    given.length < scopes.length && h("p", { class: "hint" },
      "The token has scopes that you signed in without. It loses them if you change its other scopes."),
  ], "Save", (values) => {
    const wanted = values.getAll("scopes");
    const same = wanted.length === given.length && given.every((scope) => wanted.includes(scope));
    return change("PATCH", `/v1/tokens/${id}`, { name: values.get("name"), ...(same ? {} : { scopes: wanted }) });
  });
  if (!changed) return;
  say(`Saved ${changed.name}. Other scopes take effect within 30 seconds.`);
  reload();
}

/**
 * Asks how to rotate a token, and shows its new secret.
 * @param {Token} token
 * @param {() => void} reload
 */
async function rotate(token, reload) {
  const rotated = await ask(`Rotate ${token.name}`, [
    h("p", null, "The token gets a new secret, whose lifetime starts now. During the overlap both secrets work, so that you can replace the old one everywhere without a failed request. After it, the old secret is refused."),
    lifetimes(token.expires_at ? [{ value: "", text: "after the same time as before" }]
      : me().account.permanent_tokens ? [{ value: "", text: "never, as before" }] : []),
    field("Overlap", select("overlap_hours", OVERLAPS, "24")),
  ], "Rotate", (values) =>
    change("POST", `/v1/tokens/${token.id}/rotate`,
    { overlap_hours: Number(values.get("overlap_hours")), ...lifetime(values) }));
  if (rotated) await showSecret(rotated);
  reload();
}

/** Shows the secret of a token, with a request that proves that it works. @param {Token} token */
function showSecret(token) {
  const secret = token.token ?? "";
  return once(`The secret of ${token.name}`, "Copy it now. It is not stored and can’t be shown again.", secret,
    [h("p", null, "This request proves that it works:"), h("pre", { tabindex: "0" }, curl(secret))]);
}

/** @param {string} secret */
const curl = (secret) => `curl -H "Authorization: Bearer ${secret}" ${location.origin}/v1/user`;

/** Shows the form for a new token. */
export function newToken() {
  const reason = refusal("tokens:write");
  return h("div", { class: "narrow" },
    heading("New token", null, h("a", { href: "/settings/api/tokens" }, "Back to tokens")), form([
    field("Name", input("name", { required: true, maxlength: 100, placeholder: "CI of web" }),
      "Names the program that uses the token."),
    scopeChoices(["repositories:read"]),
    lifetimes([]),
  ], "Create token", async (values) => {
    const token = await change("POST", "/v1/tokens",
      { name: values.get("name"), scopes: values.getAll("scopes"), ...lifetime(values) });
    await showSecret(token);
    go("/settings/api/tokens");
  }, { reason }));
}
