// The rules that say which pushes are deployed, as a part of a form.

import { h } from "./dom.js";
import { field, input, select } from "./form.js";
import { globs, itemEditor } from "./item-editor.js";

/** @typedef {Repository["deploy_rules"][number]} Rule */

/**
 * Creates the list of the rules.
 * @param {Rule[]} first
 * @param {string[]} environments
 */
export const deployRules = (first, environments) => itemEditor("deploy_rules", "rule", first,
  () => /** @type {Rule} */ ({ refs: [], environment: "preview", paths: [] }),
  ["The first rule whose branches and tags match decides. Without a rule a push deploys nothing. Spaces separate globs, such as ",
    h("code", null, "release/*"), ", ", h("code", null, "tags/v*"), " and ", h("code", null, "!**/*.md"), ". ",
    h("a", { href: "/docs/repositories#deploy-rules" }, "How globs match"), "."],
  (rule, name) => {
    const { refs: wasRefs, paths: wasPaths = [] } = rule;
    const refs = input(name("refs"), { value: wasRefs.join(" "), placeholder: "main release/*" });
    const paths = input(name("paths"), { value: wasPaths.join(" "), placeholder: "Any path" });
    // A rule keeps the name of an environment that has been deleted.
    const names = [...new Set([...environments, rule.environment])];
    const environment = select(name("environment"), names.map((one) => [one, one]), rule.environment);
    return {
      read: () => ({ refs: globs(refs, wasRefs), environment: environment.value, paths: globs(paths, wasPaths) }),
      fields: [field("Branches and tags", refs), field("Environment", environment), field("Changed paths", paths)],
    };
  });
