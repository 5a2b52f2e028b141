// The members of the account, and the invitations to it.

import { all, change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, choices, field, filter, input, once, remover, search, select } from "./form.js";
import { list, picked } from "./list.js";
import { me, nameOf, names, refusal } from "./session.js";
import { badge, button, copyable, dots, empty, heading, row, say, section, time } from "./ui.js";

/** @type {{value: Role, text: string, hint: string}[]} */
const ROLES = [
  { value: "member", text: "Member", hint: "Has the permissions that the account and teams give." },
  { value: "admin", text: "Admin", hint: "Manages members, invitations, teams and repositories." },
  { value: "owner", text: "Owner", hint: "Also manages owners, applications and the account." },
];

/** Returns why the caller may not give a role or change somebody who has it. @param {Role} role */
const giving = (role) => refusal("account:write", role === "owner" ? "owner" : "admin");

/**
 * Shows the members and the invitations.
 * @param {View} screen
 */
export function members(screen) {
  const { query } = screen;
  const people = list(screen,
    { label: "Members", path: () => `/v1/members?per_page=25${picked(query, ["role", "email"])}`, row: memberRow,
      none: () => empty("person", "Nobody is found", "No member has such an address and role.") });
  const bar = h("div", { class: "filters" }, search(query, "email", "Address begins with", people.restart),
    filter(query, "role", "Role", [["", "Any role"], ...ROLES.map(({ value, text }) =>
      /** @type {[string, string]} */ ([value, text]))], people.restart),
    giving("member") && h("span", { class: "muted" }, giving("member")));
  const invitations = list(screen, {
    label: "Invitations", names,
    path: () => "/v1/invitations?per_page=25",
    none: () => h("p", { class: "none" }, "No open invitation."),
    row: (/** @type {Invitation} */ one, actors, reload) => row(one.id, typed(one.email),
      dots(`As ${one.role}`, ["Invited ", time(one.created_at), " by ", typed(nameOf(one.invited_by, actors))],
        [Date.parse(one.expires_at) < Date.now() ? "Expired " : "Expires ", time(one.expires_at)]),
      remover("Revoke", `the invitation of ${one.email}`, "Its link stops working.", `/v1/invitations/${one.id}`,
        reload, giving(one.role)),
      Date.parse(one.expires_at) < Date.now() ? badge("bad", "cross", "Expired") : badge("wait", "clock", "Open")),
  });
  return [
    heading("Members", button("Invite", () => invite().then(invitations.reload),
        { kind: "primary", icon: "plus", reason: giving("member") })),
    bar, people, section("Invitations", invitations),
  ];
}

/** @param {Member} one @param {Actors} _ @param {() => void} reload */
function memberRow(one, _, reload) {
  const mine = one.id === me().user?.id;
  const reason = giving(one.role);
  const role = select("role", ROLES.map(({ value, text }) => [value, text]), one.role,
    { "aria-label": `Role of ${one.email}`, disabled: Boolean(reason), "aria-description": reason, onchange: async () => {
    const wanted = role.value;
    await ask(`Make ${one.email} ${wanted === "member" ? "a member" : `an ${wanted}`}?`,
      h("p", null, ROLES.find(({ value }) => value === wanted)?.hint, " ",
        wanted === "member" || one.role === "owner" ? "Open invitations that the person may not give any more end."
        : ""), "Change the role",
      async () => told(await change("PUT", `/v1/members/${one.id}`, { role: wanted })));
    role.value = one.role;
    reload();
  } });
  return row(one.id, [typed(one.email), mine && h("span", { class: "muted" }, " you")],
    dots(["Joined ", time(one.created_at)], reason !== giving("member") && reason),
    [role, remover("Remove", one.email,
        "The person leaves the account and every team. Their tokens are revoked, their open invitations end, and their applications, trusts and hooks are handed over to an owner. Also disable them at your identity provider.",
        `/v1/members/${one.id}`, reload, reason, told)]);
}

/** Says what ended and what was handed over with a change. @param {Record<string, any>} result */
function told(result) {
  for (const [list, one, happened] of [["ended_invitations", "open invitation", "ended"],
    ["handed_over_applications", "application", "handed over"], ["handed_over_trusts", "trust", "handed over"],
    ["handed_over_hooks", "hook", "handed over"]]) {
    const count = result[list].length;
    if (count) say(`${count} ${one}${count === 1 ? "" : "s"} ${happened}.`);
  }
}

/** Asks whom to invite, and shows the link once. */
export async function invite() {
  const teams = refusal("teams:read") ? [] : await all("/v1/teams").catch(() => []);
  const made = await ask("Invite somebody", [
    field("Email address", input("email", { type: "email", required: true })),
    choices("Role", "radio", "role", ROLES.map((role) => ({ ...role, reason: giving(role.value) })), ["member"]),
    teams.length > 0 && choices("Teams", "checkbox", "teams",
      teams.map(({ id, name }) => ({ value: id, text: typed(name) })), []),
  ], "Invite", (values) =>
    change("POST", "/v1/invitations",
    { email: values.get("email"), role: values.get("role"), teams: values.getAll("teams") }));
  if (!made) return;
  const link = `${location.origin}/join#invitation=${made.invitation.id}&secret=${made.secret}`;
  await once("Pass this link on",
    ["No email is sent. Give the link to ", typed(made.invitation.email),
      ": it works once, for seven days, and is not shown again."], link,
    h("p", { class: "hint" },
      "Who signs in at the identity provider with this address finds the invitation there, without the link. ID: ",
      copyable(made.invitation.id, "the ID")));
}
