// The settings of an environment.

import { get } from "./api.js";
import { h, typed } from "./dom.js";
import { changes, choices, field, form, input } from "./form.js";
import { loaded } from "./list.js";
import { lacks } from "./session.js";
import { heading, say } from "./ui.js";
import { variableList } from "./variables.js";

/**
 * Shows the settings.
 * @param {View} screen
 */
export function environment(screen) {
  const { params: { name, environment: which }, signal } = screen;
  const path = `/v1/repositories/${encodeURIComponent(name)}`;
  return h("div", { class: "narrow" },
    heading(["Settings of ", which], null, h("a", { href: `/repositories/${name}` }, "Back to ", typed(name))),
    loaded(screen, async () => {
      const [found, settings] = await Promise.all([get(path, signal),
          get(`${path}/environments/${encodeURIComponent(which)}`, signal)]);
      return { settings, reason: lacks(found, "admin", "repositories:write") };
    }, ({ settings, reason }) => {
      const place = `${path}/environments/${encodeURIComponent(which)}`;
      return [settingsForm(place, settings, reason), variableList(screen, `${place}/variables`,
          reason ?? (which.endsWith("*") ? "Each member of a pattern has variables of its own." : null),
          "Builds of deployments to the environment get them. They override those of the repository and of the account.")];
    }));
}

/** @param {string} path @param {EnvironmentState} settings @param {string | null} reason */
function settingsForm(path, settings, reason) {
  let before = settings;
  return form([
    h("fieldset", { class: "field" }, h("legend", null, "Freeze"), h("div", { class: "choices" },
      h("label", { class: "choice" }, h("input", { type: "checkbox", name: "frozen", checked: settings.frozen }),
        h("span", null, "Frozen", h("small", null, "No deployment is created or started. One in progress goes on."))))),
    field("Required approvals",
      input("required_approvals",
        { type: "number", min: 0, max: 6, value: settings.required_approvals, class: "short" }),
      "0 to 6. A deployment’s creator can’t approve it. Applies to deployments created from now on."),
    choices("A new deployment", "radio", "concurrency", [
      { value: "queue", text: "waits behind those in the queue", hint: "Each deployment runs, in order." },
      { value: "supersede", text: "replaces those in the queue", hint: "Only the newest runs." },
    ], [settings.concurrency]),
    field("Time limit in minutes",
      input("time_limit_seconds",
        { type: "number", min: 1, max: 480, step: "any",
          value: settings.time_limit_seconds ? settings.time_limit_seconds / 60 : "", class: "short" }),
      "1 to 480, for all commands together. Leave it empty for the runner’s default of ten minutes."),
  ], "Save", async (values) => {
    const minutes = `${values.get("time_limit_seconds")}`;
    const saved = await changes(path, before, {
      concurrency: values.get("concurrency"), required_approvals: Number(values.get("required_approvals")),
      frozen: values.has("frozen"), time_limit_seconds: minutes ? Math.round(Number(minutes) * 60) : null });
    if (!saved) return;
    before = saved;
    say("Saved the settings.");
  }, { reason });
}
