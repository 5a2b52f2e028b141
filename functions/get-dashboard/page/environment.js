// The settings of an environment, among them the rules that protect it, and its variables.

import { all, get } from "./api.js";
import { machineFields, machineOf } from "./build-machine.js";
import { h, icon, typed } from "./dom.js";
import { changes, choice, choices, field, form, input, isOn, select } from "./form.js";
import { globs, itemEditor } from "./item-editor.js";
import { loaded } from "./list.js";
import { lacks, refusal } from "./session.js";
import { heading, say, section, time } from "./ui.js";
import { variableList } from "./variables.js";

/**
 * Shows the settings.
 * @param {View} screen
 */
export function environment(screen) {
  const { params: { name, environment: which }, signal } = screen;
  const path = `/v1/repositories/${encodeURIComponent(name)}`;
  const place = `${path}/environments/${encodeURIComponent(which)}`;
  return h("div", { class: "narrow" },
    heading(["Settings of ", which], null, h("a", { href: `/repositories/${name}` }, "Back to ", typed(name))),
    loaded(screen, async () => {
      /** @param {Scope} scope @param {string} list */
      const read = (scope, list) => (refusal(scope) ? [] : all(list, signal).catch(() => []));
      const [found, settings, environments, teams, members] = await Promise.all([get(path, signal), get(place, signal),
          all(`${path}/environments`, signal), read("teams:read", "/v1/teams"), read("account:read", "/v1/members")]);
      return { settings, reason: lacks(found, "admin", "repositories:write"),
        others: environments.map((one) => one.name).filter((one) => one !== which && !one.endsWith("*")),
        people: Object.fromEntries([...teams, ...members].map(({ id, name, email }) => [id, name ?? email])) };
    }, ({ settings, others, people, reason }) => [settingsForm(place, settings, others, people, reason),
      variableList(screen, `${place}/variables`,
        reason ?? (which.endsWith("*") ? "Each member of a pattern has variables of its own." : null),
        "They override those of the repository and of the account.")]));
}

/** The seconds of the unit in which a number is entered. */
const AMOUNTS = { required_approvals: 1, approval_timeout_seconds: 3600, wait_seconds: 60, time_limit_seconds: 60 };
/** @typedef {keyof typeof AMOUNTS} Amount */

/** @param {EnvironmentState} settings @param {Amount} name */
const inUnits = (settings, name) => (settings[name] === null ? "" : settings[name] / AMOUNTS[name]);

/**
 * Creates boxes for names. Those that are chosen already stand first, so that they keep their order.
 * @param {string} legend
 * @param {string} name
 * @param {string[]} chosen
 * @param {string[]} others
 * @param {string} hint
 * @param {Record<string, string>} [names]
 */
const boxes = (legend, name, chosen, others, hint, names = {}) => choices(legend, "checkbox", name,
  [...new Set([...chosen, ...others])].map((value) => ({ value, text: typed(names[value] ?? value) })), chosen, hint);

/**
 * @param {string} path
 * @param {EnvironmentState} settings
 * @param {string[]} others the environments that can be required
 * @param {Record<string, string>} people the names of teams and members by their IDs
 * @param {string | null} reason
 */
function settingsForm(path, settings, others, people, reason) {
  let before = settings;
  const { users = [], teams = [] } = settings.reviewers ?? {};
  const refs = input("refs", { value: settings.refs.join(" "), placeholder: "Any commit" });
  const windows = freezeWindows(settings.freeze_windows);
  const amount = (/** @type {string} */ label, /** @type {Amount} */ name, /** @type {number} */ max, /** @type {string} */ hint) =>
    field(label, input(name, { type: "number", min: 0, max, step: "any", value: inUnits(settings, name), class: "short" }), hint);
  const part = (/** @type {string} */ title, /** @type {Children[]} */ ...content) =>
    section(title, h("div", { class: "fields" }, content));
  const element = form([
    h("fieldset", { class: "field" }, h("legend", null, "Freeze"), h("div", { class: "choices" },
      choice(h("input", { type: "checkbox", name: "frozen", checked: settings.frozen }), "Frozen",
        "No deployment is created or started. One in progress goes on."))),
    choices("A new deployment", "radio", "concurrency", [
      { value: "queue", text: "waits behind those in the queue", hint: "Each deployment runs, in order." },
      { value: "supersede", text: "replaces those in the queue", hint: "Only the newest runs." },
    ], [settings.concurrency]),
    amount("Time limit in minutes", "time_limit_seconds", 480,
      "1 to 480, for all commands together. Leave it empty for the runner’s default of ten minutes."),
    settings.name.endsWith("*") && field("Days without a deployment", input("removed_after_days",
      { type: "number", min: 1, max: 365, value: settings.removed_after_days, class: "short" }),
      "After them, a member of the pattern that is created from now on is removed."),
    part("Build",
      field("Root folder", input("root_folder", { value: settings.root_folder ?? "", placeholder: "The repository’s" }),
        "Leave a field empty for the repository’s setting."),
      field("Buildspec", input("buildspec_path", { value: settings.buildspec_path ?? "", placeholder: "The repository’s" })),
      field("Cache", select("cache", [["", "The repository’s setting"], ["true", "On"], ["false", "Off"]],
        settings.cache === null ? "" : String(settings.cache)))),
    machineFields(settings, "repository"),
    part("Approvals",
      amount("Required approvals", "required_approvals", 6,
        "0 to 6. A deployment’s creator can’t approve it. Applies to deployments created from now on."),
      boxes("Reviewers", "reviewers", [...teams, ...users], Object.keys(people),
        "The only people who may approve. Choose none for everybody who may deploy.", people),
      amount("Time for approvals in hours", "approval_timeout_seconds", 720,
        "Leave it empty for seven days.")),
    part("What may be deployed, and when",
      field("Branches and tags", refs, ["Spaces separate globs, such as ", h("code", null, "main tags/v*"), ". ",
          h("a", { href: "/docs/protection-rules#refs" }, "How they match"), "."]),
      boxes("Required environments", "requires", settings.requires, others, "A commit has to succeed in them first."),
      amount("Wait in minutes", "wait_seconds", 43_200, "From a deployment’s creation to its start, at least.")),
    section("Freeze windows", [settings.frozen_until
      && h("p", { class: "wait" }, icon("snow"), " A window is open, and ends ", time(settings.frozen_until), "."), windows.element]),
  ], "Save", async (values) => {
    const number = (/** @type {Amount} */ name) =>
      values.get(name) ? Math.round(Number(values.get(name)) * AMOUNTS[name]) : null;
    const chosen = (/** @type {string} */ name, start = "") =>
      values.getAll(name).map(String).filter((value) => value.startsWith(start));
    const saved = await changes(path, before, {
      ...Object.fromEntries(Object.keys(AMOUNTS).map((name) => [name, number(/** @type {Amount} */ (name))])),
      concurrency: values.get("concurrency"), frozen: values.has("frozen"),
      ...machineOf(values),
      root_folder: values.get("root_folder") || (before.root_folder === "" ? "" : null),
      buildspec_path: values.get("buildspec_path") || null,
      cache: isOn(values, "cache"),
      ...(values.has("removed_after_days") ? { removed_after_days: Number(values.get("removed_after_days")) || null } : {}),
      reviewers: values.has("reviewers")
        ? { users: chosen("reviewers", "user_"), teams: chosen("reviewers", "team_") } : null,
      refs: globs(refs, before.refs), requires: chosen("requires"), freeze_windows: windows.read(),
    });
    if (!saved) return;
    before = saved;
    for (const name of Object.keys(AMOUNTS)) {
      const control = /** @type {HTMLInputElement} */ (element.elements.namedItem(name));
      control.value = `${inUnits(saved, /** @type {Amount} */ (name))}`;
    }
    say("Saved the settings.");
  }, { reason });
  return element;
}

/**
 * Creates the list of the windows in which nothing is deployed.
 * @param {FreezeWindow[]} first
 */
const freezeWindows = (first) =>
  itemEditor("freeze_windows", "window", first, () => ({ cron: "", duration_seconds: 3600, time_zone: "UTC" }),
    ["Nothing starts in a window, which begins by a cron expression. ",
      h("a", { href: "/docs/protection-rules#freezes" }, "About freezes"), "."],
    (one, name) => {
      const cron = input(name("cron"), { value: one.cron, placeholder: "0 18 * * FRI" });
      const hours = input(name("duration_seconds"),
        { type: "number", min: 0, max: 720, step: "any", value: one.duration_seconds / 3600 });
      const why = input(name("reason"), { value: one.reason });
      const zone = input(name("time_zone"), { value: one.time_zone });
      return {
        read: () => ({ cron: cron.value, duration_seconds: Math.round(Number(hours.value) * 3600),
            time_zone: zone.value || "UTC", reason: why.value || null }),
        fields: [field("Begins", cron), field("Hours", hours), field("Reason", why), field("Time zone", zone)],
      };
    });
