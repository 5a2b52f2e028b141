// The settings of a repository: its place, its build, what a push deploys, and its end.

import { all, change, get } from "./api.js";
import { machineFields, machineOf } from "./build-machine.js";
import { deployRules } from "./deploy-rules.js";
import { h, typed } from "./dom.js";
import { ask, changes, choice, field, form, input, invalid, offerRefs } from "./form.js";
import { loaded } from "./list.js";
import { connectionChoice, listConnections, visibilityChoice } from "./repositories.js";
import { go } from "./route.js";
import { lacks } from "./session.js";
import { button, heading, linkButton, say, section } from "./ui.js";
import { variableList } from "./variables.js";

/**
 * Shows the settings.
 * @param {View} screen
 */
export function repositorySettings(screen) {
  const { params: { name }, signal } = screen;
  const path = `/v1/repositories/${encodeURIComponent(name)}`;
  return h("div", { class: "narrow" },
    heading(["Settings of ", typed(name)], linkButton("Hooks", `/repositories/${name}/hooks`, { icon: "link" }),
      h("a", { href: `/repositories/${name}` }, "Back to the repository")),
    loaded(screen, async () => ({ one: /** @type {Repository} */ (await get(path, signal)), listed: await listConnections(),
        environments: (await all(`${path}/environments`, signal)).map((/** @type {EnvironmentState} */ found) => found.name) }),
      ({ one, listed, environments }) => {
      const reason = lacks(one, "admin", "repositories:write");
      return [repositoryForm(one, listed, environments, reason, signal),
        variableList(screen, `/v1/repositories/${one.id}/variables`, reason,
          "They override those of the account."),
        section("Cache",
          h("p", { class: "muted" }, "Builds start with the files that earlier ones of their branch have cached."),
          button("Clear", async () => {
            await change("DELETE", `/v1/repositories/${one.id}/cache`);
            say("Cleared the cache.");
          }, { reason: lacks(one, "deploy", "repositories:write"), label: "Clear the cache" })),
        section("Delete the repository",
          h("p", { class: "muted" }, "Its deployments and settings are deleted, too. Nothing happens at the git host."),
          button("Delete", () => remove(one), { kind: "danger", reason, label: `Delete ${one.name}` }))];
    }));
}

/**
 * @param {Repository} one
 * @param {Connection[] | null} listed
 * @param {string[]} environments
 * @param {string | null} reason
 * @param {AbortSignal} signal
 */
function repositoryForm(one, listed, environments, reason, signal) {
  const path = `/v1/repositories/${one.id}`;
  const branch = input("default_branch", { value: one.default_branch });
  const rules = deployRules(one.deploy_rules, environments);
  let before = one;
  const element = form([
    section("General", h("div", { class: "fields" },
        field("Name", input("name", { required: true, maxlength: 100, value: one.name }),
          "Letters, digits, dots, hyphens and underscores. Links with the old name keep working."),
        field("Clone URL", input("clone_url", { required: true, type: "url", value: one.clone_url }),
          "The git host is contacted at once."),
        connectionChoice(listed, one.connection_id),
        field("Default branch", branch, "Leave it empty to use the host’s."), offerRefs(branch, path, signal, "branch"),
        visibilityChoice(one.visibility))),
    section("Build", h("div", { class: "fields" },
        field("Root folder", input("root_folder", { value: one.root_folder, placeholder: "The top of the repository" }),
          "A build starts in this folder, and has the files of this folder only."),
        field("Buildspec", input("buildspec_path", { value: one.buildspec_path, placeholder: "buildspec.yml" }),
          "The path of the buildspec, from the root folder."),
        field("Fetch depth",
          input("fetch_depth", { type: "number", min: 1, max: 1000, value: one.fetch_depth, class: "short" }),
          "The commits of the history that a build has, 1 to 1,000."),
        choice(h("input", { type: "checkbox", name: "cache", checked: one.cache }), "Cache",
          "A build has the cache that its buildspec asks for, unless its environment turns it off."))),
    machineFields(one, "operator"),
    section("Deploy rules", rules.element),
  ], "Save", async (values) => {
    const depth = values.get("fetch_depth");
    const saved = await changes(path, before, {
      name: values.get("name"), clone_url: values.get("clone_url"),
      connection_id: listed ? values.get("connection_id") || null : undefined,
      default_branch: values.get("default_branch") || null, visibility: values.get("visibility"),
      root_folder: values.get("root_folder"), buildspec_path: values.get("buildspec_path") || null,
      fetch_depth: depth ? Number(depth) : null, cache: values.has("cache"), ...machineOf(values), deploy_rules: rules.read(),
    });
    if (!saved) return;
    say("Saved the settings.");
    if (saved.name !== before.name) return go(`/repositories/${saved.name}/settings`, { replace: true });
    before = saved;
    for (const control of element.querySelectorAll("input")) {
      if (control.type !== "radio" && control.type !== "checkbox" && control.name in saved) control.value = saved[control.name] ?? "";
    }
    rules.show(saved.deploy_rules);
  }, { reason });
  return element;
}

/** Asks for the name of a repository and deletes it. @param {Repository} one */
async function remove({ id, name }) {
  const gone = await ask(`Delete ${name}?`, [
    h("p", null, "Its deployments, settings, hooks and team permissions are deleted. Queued deployments are canceled, and those in progress are stopped first. This can’t be undone."),
    field("Name of the repository", input("name", { required: true, placeholder: name })),
  ], "Delete", async (values) => {
    if (values.get("name") === name) return change("DELETE", `/v1/repositories/${id}`);
    throw invalid("name", "Enter the name of the repository.");
  }, true);
  if (!gone) return;
  say(`Deleted ${name}.`);
  go("/repositories");
}
