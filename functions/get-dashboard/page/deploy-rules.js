// The rules that say which pushes are deployed, as a part of a form.

import { ENVIRONMENTS } from "./deployments.js";
import { h } from "./dom.js";
import { field, input, select } from "./form.js";
import { button } from "./ui.js";

/** @typedef {Repository["deploy_rules"][number]} Rule */

/**
 * Creates the list of the rules, and returns it with a function that reads the rules and one that shows others.
 * @param {Rule[]} first
 */
export function deployRules(first) {
  const place = h("div", { class: "rules" });
  /** Each reads a rule with what has been typed. @type {(() => Rule)[]} */
  let readers = [];
  const read = () => readers.map((one) => one());
  /** @param {Rule[]} rules @param {string} [label] the button that gets the focus */
  const show = (rules, label) => {
    const lines = rules.map((rule, at) => ruleLine(rule, at, rules.length, (changed, focus) => show(changed(read()), focus)));
    readers = lines.map((one) => one.read);
    place.replaceChildren(...lines.map((one) => one.element));
    if (label) /** @type {HTMLElement} */ (place.querySelector(`[aria-label="${label}"]`) ?? add).focus();
  };
  const add = button("Add rule", () => {
    show([...read(), { refs: [], environment: "preview", paths: [] }]);
    place.lastElementChild?.querySelector("input")?.focus();
  }, { icon: "plus" });
  show(first);
  const element = h("fieldset", { class: "field", "data-field": "deploy_rules", "aria-label": "Deploy rules" },
    h("div", { class: "hint" }, "The first rule whose branches and tags match decides. Without a rule a push deploys nothing. Spaces separate globs, such as ",
      h("code", null, "release/*"), ", ", h("code", null, "tags/v*"), " and ", h("code", null, "!**/*.md"), ". ",
      h("a", { href: "/docs/guides/repositories#deploy-rules" }, "How globs match"), "."),
    place, add, h("div", { class: "error" }));
  return { element, read, show };
}

/**
 * Creates the fields of a rule. Globs that nobody edits stay as they are, also those with a space.
 * @param {Rule} rule
 * @param {number} at
 * @param {number} count
 * @param {(changed: (rules: Rule[]) => Rule[], focus: string) => void} edit
 */
function ruleLine(rule, at, count, edit) {
  const { refs: wasRefs, paths: wasPaths = [] } = rule;
  const name = (/** @type {keyof Rule} */ part) => `deploy_rules[${at}].${part}`;
  const refs = input(name("refs"), { value: wasRefs.join(" "), placeholder: "main release/*" });
  const paths = input(name("paths"), { value: wasPaths.join(" "), placeholder: "Any path" });
  const environment = select(name("environment"), ENVIRONMENTS.map((one) => [one, one]), rule.environment);
  /** @param {HTMLInputElement} control @param {string[]} before */
  const globs = ({ value }, before) => (value === before.join(" ") ? before : value.split(/\s+/).filter(Boolean));
  const label = (/** @type {number} */ to, by = 0) =>
    (by ? `Move rule ${to + 1} ${by < 0 ? "up" : "down"}` : `Remove rule ${to + 1}`);
  const mover = (/** @type {number} */ by, /** @type {string | null} */ reason) => button([], () => edit((rules) => {
    rules.splice(at + by, 0, ...rules.splice(at, 1));
    return rules;
  }, label(at + by, by)), { kind: "plain", icon: "chevron", label: label(at, by), reason });
  return {
    read: () => ({ refs: globs(refs, wasRefs), environment: /** @type {EnvironmentName} */ (environment.value),
        paths: globs(paths, wasPaths) }),
    element: h("div", { class: "rule", role: "group", "aria-label": `Rule ${at + 1}` },
      field("Branches and tags", refs), field("Environment", environment), field("Changed paths", paths),
      h("div", { class: "actions" }, mover(-1, at ? null : "This is the first rule."),
        mover(1, at < count - 1 ? null : "This is the last rule."),
        button([], () => edit((rules) => rules.filter((_, other) => other !== at), label(at)),
          { kind: "plain", icon: "cross", label: label(at) }))),
  };
}
