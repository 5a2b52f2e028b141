// The machine of builds in AWS CodeBuild, as a repository or an environment chooses it.

import { h } from "./dom.js";
import { field, input, isOn, select } from "./form.js";
import { section } from "./ui.js";

/**
 * Creates the fields. `other` chooses what is empty.
 * @param {Pick<EnvironmentState, "image" | "compute_type" | "privileged">} machine
 * @param {"operator" | "repository"} other
 */
export const machineFields = ({ image, compute_type: size, privileged }, other) => {
  /** @type {[string, string][]} */
  const sizes = ["SMALL", "MEDIUM", "LARGE", "XLARGE", "2XLARGE"].map((name) => [`BUILD_GENERAL1_${name}`, name]);
  /** @type {[string, string]} */
  const none = ["", `The ${other}’s`];
  return section("Build machine", h("div", { class: "fields" },
    h("p", { class: "hint" }, `In AWS CodeBuild, within what the operator allows. Leave a field empty for the ${other}’s choice.`),
    field("Image", input("image", { value: image ?? "", maxlength: 255, placeholder: "aws/codebuild/standard:7.0" })),
    field("Size", select("compute_type", [none, ...sizes], size ?? "")),
    field("Privileged", select("privileged", [...(other === "repository" ? [none] : []), ["false", "Off"], ["true", "On"]],
      String(privileged ?? "")), "A privileged build can run Docker, and do anything on its machine.")));
};

/** Returns the values of the fields. @param {FormData} values */
export const machineOf = (values) => ({
  image: values.get("image") || null, compute_type: values.get("compute_type") || null,
  privileged: isOn(values, "privileged"),
});
