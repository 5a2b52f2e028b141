// What a build has done and made: its commands, the results of its tests, its outputs and its artifacts.

import { h, typed } from "./dom.js";
import { list } from "./list.js";
import { badge, copyable, dots, facts, row, section, spoken } from "./ui.js";

/** Says how large a file is. @param {number} bytes */
function fileSize(bytes) {
  const step = Math.min(3, Math.floor(Math.log10(bytes || 1) / 3));
  return `${Number((bytes / 1000 ** step).toFixed(1))} ${["bytes", "kB", "MB", "GB"][step]}`;
}

/**
 * Shows the results of a deployment, apart from its artifacts.
 * @param {Deployment} deployment
 */
export const results = ({ tests, outputs }) => [
  tests && section("Tests", [
    h("p", null, badge(tests.failed ? "bad" : "good", tests.failed ? "cross" : "check",
        tests.failed ? `${tests.failed} failed` : "Passed"),
      ` ${tests.passed} of ${tests.total} passed, ${tests.skipped} skipped, in ${(tests.duration_ms / 1000).toFixed(1)} s`),
    tests.failures.length > 0 && h("ul", { class: "rows", "aria-label": "Failed tests" }, tests.failures.map((one, at) =>
        row(`test-${at}`, typed(one.name), [dots(typed(one.suite)), h("pre", null, typed(one.message))]))),
  ]),
  outputs && section("Outputs", facts(Object.entries(outputs).map(([name, value]) => [name, copyable(value, name)]))),
];

/** Shows the commands of a build, each with its end and its time. @param {DeploymentEvent["commands"]} ran */
export const commands = (ran) => ran.length > 0 && section("Commands", [
  ran[0].number > 1 && h("p", { class: "muted" }, `The first ${ran[0].number - 1} are left out.`),
  h("ul", { class: "rows", "aria-label": "Commands" }, ran.map((one) => row(`command-${one.number}`, h("code", null, typed(one.command)),
    dots(spoken(one.phase), one.attempt > 1 && `attempt ${one.attempt}`,
      one.exit_code !== null ? `exit status ${one.exit_code}` : one.signal !== null && `signal ${one.signal}`,
      `${(one.duration_ms / 1000).toFixed(1)} s`),
    null, badge(one.status === "succeeded" ? "good" : "bad", one.status === "succeeded" ? "check" : "cross", spoken(one.status))))),
]);

/**
 * Shows the artifacts of a deployment that has ended.
 * @param {View} screen
 * @param {string} id
 */
export function artifacts(screen, id) {
  const path = `/v1/deployments/${id}/artifacts`;
  const all = h("a", { class: "button", href: `${path}.zip`, download: true, hidden: true }, "Download all");
  return h("div", { "data-key": "artifacts", "data-kept": true }, list(screen, {
    label: "Artifacts", path: () => `${path}?per_page=25`,
    row: (/** @type {Artifact} */ one) => {
      all.hidden = false;
      return row(one.path, h("a", { href: new URL(one.url).pathname, download: true }, typed(one.path)), fileSize(one.size));
    },
    none: () => h("p", { class: "none" }, "The build has made no artifacts."),
  }), all);
}
