// The teams of the account, and one team with its members and repositories.

import { ApiError, all, call, change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, field, input, remover, select } from "./form.js";
import { list, loaded, settingsList } from "./list.js";
import { go } from "./route.js";
import { refusal } from "./session.js";
import { button, dots, heading, row, say, section, time } from "./ui.js";

/** @type {[string, string][]} */
const PERMISSIONS = [["read", "Read"], ["deploy", "Deploy"], ["admin", "Admin"]];
const changing = () => refusal("teams:write", "admin");

/** @param {Team} [team] */
const teamFields = (team) => [
  field("Name", input("name", { required: true, maxlength: 100, value: team?.name }),
    "Letters, digits, dots, hyphens, underscores and single spaces."),
  field("Description", h("textarea", { name: "description", maxlength: 300, rows: 2 }, team?.description ?? "")),
];

/**
 * Shows all teams.
 * @param {View} screen
 */
export function teams(screen) {
  return settingsList(screen, {
    title: "Teams", path: "/v1/teams?per_page=25&sort=name&direction=asc", add: ["New team", newTeam, changing()],
    intro: "A team gives its members a permission on repositories.",
    none: ["team", "No teams yet", changing() ? "You belong to no team."
      : "Create a team, then add members and repositories to it."],
    row: (/** @type {Team} */ one) =>
      row(one.id, h("a", { href: `/settings/teams/${one.id}` }, typed(one.name)),
      dots(one.description && typed(one.description), ["Created ", time(one.created_at)])),
  });
}

async function newTeam() {
  const made = await ask("New team", teamFields(), "Create team",
    (values) => change("POST", "/v1/teams", Object.fromEntries(values)));
  if (made) go(`/settings/teams/${made.id}`);
}

/**
 * Shows a team.
 * @param {View} screen
 */
export function team(screen) {
  const path = `/v1/teams/${screen.params.id}`;
  return loaded(screen, async () => {
    const response = await call("GET", path, { signal: screen.signal });
    return { one: /** @type {Team} */ (await response.json()), tag: response.headers.get("etag") ?? "*" };
  }, ({ one, tag }, reload) => {
    const people = list(screen, {
      label: "Members", path: () => `${path}/members?per_page=25`,
      none: () => h("p", { class: "none" }, "No members yet. Add somebody to give them the team’s permissions."),
      row: (/** @type {TeamMember} */ { member, added_at: at }, _, again) =>
        row(member.id, typed(member.email), dots(["Added ", time(at)]),
        remover("Remove", member.email, "The person stays in the account and loses the team’s permissions.",
          `${path}/members/${member.id}`, again, changing())),
    });
    const repositories = list(screen, {
      label: "Repositories", path: () => `${path}/repositories?per_page=25`,
      none: () => h("p", { class: "none" }, "No repositories yet. Add one to give the members a permission on it."),
      row: (/** @type {TeamRepository} */ { repository, permission, added_at: at }, _, again) =>
        row(repository.id, h("a", { href: `/repositories/${repository.name}` }, typed(repository.name)),
        dots(["Added ", time(at)]), [
        grant(`${path}/repositories/${repository.id}`, repository.name, permission),
        remover("Remove", repository.name,
          "The members lose the permission that the team gives. The repository is not changed.",
          `${path}/repositories/${repository.id}`, again, changing())]),
    });
    const reason = changing();
    return [
      heading(typed(one.name),
        [button("Edit", () => edit(path, one, tag).then(reload), { reason }),
          remover("Delete", one.name, "Its members lose the permissions that the team gives.", path,
            () => go("/settings/teams"), reason)],
        dots(h("a", { href: "/settings/teams" }, "Back to teams"), one.description && typed(one.description))),
      section("Members", people,
        button("Add member", () => addMember(path).then(people.reload),
          { icon: "plus", reason: reason ?? refusal("account:read") })),
      section("Repositories", [reason && h("p", { class: "hint" }, reason), repositories],
        button("Add repository", () => grantRepository(path).then(repositories.reload),
          { icon: "plus", reason: reason ?? refusal("repositories:read") })),
    ];
  });
}

/** @param {string} path @param {string} name @param {string} permission */
function grant(path, name, permission) {
  const reason = changing();
  const control = select("permission", PERMISSIONS, permission,
    { "aria-label": `Permission on ${name}`, disabled: Boolean(reason), "aria-description": reason, onchange: async () => {
    try {
      await change("PUT", path, { permission: control.value });
      say(`The team now has ${control.value} on ${name}.`);
    } catch (error) {
      control.value = permission;
      say(error instanceof ApiError ? error.message : "The permission could not be changed.");
    }
  } });
  return control;
}

/** @param {string} path @param {Team} one @param {string} tag */
const edit = (path, one, tag) =>
  ask("Edit the team", teamFields(one), "Save",
  (values) => change("PATCH", path, Object.fromEntries(values), { "If-Match": tag }));

/** @param {string} path */
async function addMember(path) {
  const [everybody, present] = await Promise.all([all("/v1/members"), all(`${path}/members`)]);
  const others = everybody.filter(({ id }) => !present.some(({ member }) => member.id === id));
  others.length
    ? await ask("Add a member", field("Member", select("user", others.map(({ id, email }) => [id, email]))), "Add",
      (values) => change("PUT", `${path}/members/${values.get("user")}`))
    : say("Everybody in the account is in the team. Invite others under Members.");
}

/** @param {string} path */
async function grantRepository(path) {
  const [every, present] = await Promise.all([all("/v1/repositories"), all(`${path}/repositories`)]);
  const others = every.filter(({ id }) => !present.some(({ repository }) => repository.id === id));
  others.length
    ? await ask("Add a repository",
      [field("Repository", select("repository", others.map(({ id, name }) => [id, name]))),
        field("Permission", select("permission", PERMISSIONS, "read"),
          "Deploy includes read. Admin includes both and the settings.")], "Add",
      (values) => change("PUT", `${path}/repositories/${values.get("repository")}`,
        { permission: values.get("permission") }))
    : say("The team has every repository that you see.");
}
