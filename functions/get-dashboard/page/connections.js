// Credentials for git hosts, with which private repositories are read.

import { change, get } from "./api.js";
import { h, icon, typed } from "./dom.js";
import { ask, changes, choices, dialog, field, form, input, remover, select } from "./form.js";
import { settingsList } from "./list.js";
import { me, refusal } from "./session.js";
import { badge, button, dots, facts, row, say, time } from "./ui.js";

/** The software of git hosts that have hooks, too. */
export const HOSTS = { github: "GitHub", gitlab: "GitLab", gitea: "Gitea or Forgejo", bitbucket: "Bitbucket" };
const PROVIDERS = { ...HOSTS, other: "Other" };
const KINDS = { basic: "User and token", github_app: "GitHub App" };

/**
 * Shows the connections.
 * @param {View} screen
 */
export function connections(screen) {
  const reason = refusal("repositories:write", "admin");
  return settingsList(screen, {
    title: "Connections", path: "/v1/connections?per_page=25", add: ["Add connection", addConnection, reason],
    intro: ["A connection reads the private repositories of a git host, and shows the state of deployments beside commits. ",
      h("a", { href: "/docs/connections#which-token-to-make" }, "Which token to make"), "."],
    none: ["link", "No connections yet",
      "Private repositories are cloned through a connection, which holds a user and token or a GitHub App."],
    row: (/** @type {Connection} */ one, _, reload) => row(one.id, typed(one.name), dots(h("code", null, typed(one.host)),
      PROVIDERS[one.provider], one.kind === "basic" ? ["User ", typed(one.username)] : `App ${one.app_id}`,
      one.repository_count ? uses(one) : "Not used yet",
      ["Created ", time(one.created_at), " by ",
        typed(one.created_by.id === me().user?.id ? "you" : one.created_by.name)]),
    [button("Check", () => check(one), { reason, label: `Check ${one.name}` }),
      button("Edit", () => editConnection(one.id).then(reload), { reason, label: `Edit ${one.name}` }),
      remover("Delete", one.name, "Its password or key is deleted. A connection that repositories use can’t be deleted.",
        `/v1/connections/${one.id}`, reload, reason)], badge("idle", "link", KINDS[one.kind])),
  });
}

/** @param {Connection} one */
const uses = ({ repository_count: count }) => `Used by ${count} ${count === 1 ? "repository" : "repositories"}`;

/** @param {Connection} [one] */
const nameField = (one) =>
  field("Name", input("name", { required: true, maxlength: 100, value: one?.name, placeholder: "Deploy bot" }));

/**
 * Creates the fields that belong to a kind. Those of a secret are empty, and stay so unless it is replaced.
 * @param {Connection["kind"]} kind
 * @param {Connection} [one]
 */
function credential(kind, one) {
  const secret = one ? "Leave it empty to keep the current one." : "It is encrypted, and never shown again.";
  return kind === "basic" ? [
    field("Username", input("username", { required: true, value: one?.username }), "GitHub and GitLab take any text beside a token."),
    field("Password or token", input("password", { type: "password", autocomplete: "new-password" }), secret),
    field("Provider", select("provider", [["", "By the host"], ...Object.entries(PROVIDERS)], one?.provider),
      "Whose API a check asks, and commit statuses go to."),
  ] : [
    !one && field("App ID", input("app_id", { required: true, inputmode: "numeric", class: "short" })),
    field("Private key", h("textarea", { name: "private_key", rows: 4, spellcheck: "false", autocomplete: "off",
        placeholder: "-----BEGIN RSA PRIVATE KEY-----" }), secret),
    field("Installation ID", input("installation_id", { inputmode: "numeric", class: "short", value: one?.installation_id }),
      "Leave it empty to find the installation by each repository."),
  ];
}

/** What an empty field stands for: the default, or the secret as it is. @type {Record<string, null | undefined>} */
const EMPTY = { provider: null, app_id: null, installation_id: null, password: undefined, private_key: undefined };
/** Returns the fields of a body. @param {FormData} values */
const body = (values) => Object.fromEntries([...values].map(([name, value]) =>
    [name, !value && name in EMPTY ? EMPTY[name] : name.endsWith("_id") ? Number(value) || value : value]));

async function addConnection() {
  const kinds = /** @type {const} */ (["basic", "github_app"]);
  const parts = kinds.map((kind) => h("fieldset", { class: "fields" }, credential(kind)));
  const host = input("host", { required: true, placeholder: "git.example.com" });
  const show = (/** @type {string} */ chosen) => {
    parts.forEach((part, at) => (part.hidden = part.disabled = kinds[at] !== chosen));
    if (chosen === "github_app") host.value ||= "github.com";
  };
  show("basic");
  const kind = choices("Kind", "radio", "kind", [
    { value: "basic", text: KINDS.basic, hint: "For any git host." },
    { value: "github_app", text: KINDS.github_app, hint: "Belongs to an organization. Its tokens last an hour." },
  ], ["basic"]);
  kind.onchange = ({ target }) => show(/** @type {HTMLInputElement} */ (target).value);
  const made = await ask("Add a connection",
    [nameField(), kind, field("Host", host, "The only host that the credential is sent to."), parts], "Add connection",
    (values) => change("POST", "/v1/connections", body(values)));
  if (!made) return;
  say(`Added ${made.name}.`);
  await check(made, true);
}

/**
 * Tries a credential, in a dialog.
 * @param {Connection} one
 * @param {boolean} [atOnce]
 */
const check = ({ id, name, host }, atOnce) => dialog(`Check ${name}`, () => {
  const result = h("div", { role: "status" });
  const element = form([
    field("Clone URL", input("clone_url", { type: "url", placeholder: `https://${host}/acme/web.git` }),
      "A repository that the credential should read. Leave it empty to ask the host’s API alone."), result,
  ], "Check", async (values) => {
    result.replaceChildren();
    /** @type {ConnectionCheck} */
    const { ok, message, repositories: seen } =
      await change("POST", `/v1/connections/${id}/check`, { clone_url: values.get("clone_url") || null });
    result.append(h("div", { class: `callout ${ok ? "good" : "bad"}` }, icon(ok ? "check" : "cross"), h("div", null,
      h("p", null, h("strong", null, ok ? "It works" : "It does not work"), ": ", typed(message), "."),
      seen && h("p", { class: "codes" }, seen.names.map((full) => [h("code", null, typed(full)), " "]),
        seen.total > seen.names.length && `and ${seen.total - seen.names.length} more`))));
  });
  if (atOnce) queueMicrotask(() => element.requestSubmit());
  return element;
});

/** @param {string} id */
async function editConnection(id) {
  const path = `/v1/connections/${id}`;
  /** @type {Connection} */
  const one = await get(path);
  const saved = await ask(`Edit ${one.name}`, [
    facts([["Kind", KINDS[one.kind]], ["Host", h("code", null, typed(one.host))],
        ["Secret", ["Set ", time(one.secret_updated_at)]],
        ["Repositories", one.repositories?.length
          ? dots(...one.repositories.map(({ name }) => h("a", { href: `/repositories/${name}` }, typed(name)))) : "None"]]),
    nameField(one), credential(one.kind, one),
  ], "Save", (values) => changes(path, one, body(values)));
  if (saved?.id) say(`Saved ${saved.name}.`);
}
