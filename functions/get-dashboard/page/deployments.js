// Deployments as rows, and the list of all of them.

import { h, typed } from "./dom.js";
import { choice, field, filter, input, narrow, search } from "./form.js";
import { list, picked } from "./list.js";
import { nameOf } from "./session.js";
import { dots, elapsed, empty, heading, row, short, spoken, status, time } from "./ui.js";

/** The environments that each repository has. */
export const ENVIRONMENTS = ["preview", "staging", "production"];
/** @type {[string, string][]} */
const STATUS_FILTER = [["", "Any status"], ["queued", "Queued"], ["in_progress", "In progress"],
  ["succeeded", "Succeeded"], ["failed", "Failed"], ["canceled", "Canceled"], ["superseded", "Superseded"]];

/** @param {Status} value */
export const active = (value) => value === "queued" || value === "in_progress";

/** Returns the number of approvals that a queued deployment lacks. @param {Deployment} deployment */
export const lacking = ({ approvals: { required, given_by: given } }) => Math.max(0, required - given.length);

/**
 * Says why a deployment waits, or returns null. A list does not tell the place in the queue.
 * @param {Deployment} deployment
 */
export function waits(deployment) {
  const { queue, status: value } = deployment;
  if (value !== "queued" && !queue) return null;
  const missing = lacking(deployment);
  if (missing) return `Waits for ${missing === 1 ? "one approval" : `${missing} approvals`}`;
  const by = queue?.blocked_by;
  if (by?.deployment_id) return ["Waits for ", h("a", { href: `/deployments/${by.deployment_id}` },
      by.kind === "requirement" ? "a required deployment" : "the deployment ahead")];
  if (by?.position) return `Waits for capacity, as number ${by.position} of the account`;
  if (by?.kind === "capacity") return ["Waits for a machine", by.until && [", and is tried again ", time(by.until)]];
  if (by) return [by.kind === "freeze" ? "Waits because the environment is frozen" : "Waits for the wait timer",
    by.until && [", which ends ", time(by.until)], by.reason && [": ", typed(by.reason)]];
  return queue ? "About to start" : "Waits in the queue";
}

/**
 * Shows a deployment in a list.
 * @param {Deployment} deployment
 * @param {Actors} actors
 */
export function deploymentRow(deployment, actors) {
  const { id, number, ref, environment, repository, commit, sha, created_at: created, started_at: started,
    finished_at: finished, failure } = deployment;
  return row(id,
    [h("a", { href: `/deployments/${id}` }, repository ? [typed(repository.name), " "] : [], `#${number}`), " ",
      commit?.subject && h("span", { class: "subject" }, typed(commit.subject))],
    dots([typed(ref), " → ", environment], short(sha),
      [time(created), " by ", typed(nameOf(deployment.created_by, actors))], started && elapsed(started, finished),
      failure && h("span", { class: "bad" }, spoken(failure.code)), waits(deployment)),
    null, status(deployment));
}

/**
 * Creates the filters of a list of deployments. They stay in the address, so that a link shows the same list.
 * @param {URLSearchParams} query
 * @param {() => void} changed
 */
export function filters(query, changed) {
  return h("div", { class: "filters" },
    filter(query, "environment", "Environment",
      [...new Set(["", ...ENVIRONMENTS, query.get("environment") ?? ""])].map((name) => [name, name || "Any environment"]),
      changed), properties(query, changed));
}

/**
 * Creates the filters that all lists of deployments have.
 * @param {URLSearchParams} query
 * @param {() => void} changed
 */
const properties = (query, changed) => [
  filter(query, "status", "Status", STATUS_FILTER, changed), search(query, "ref", "Branch or tag", changed),
  search(query, "sha", "Full SHA of a commit", changed), only(query, "created_by", "Mine", changed),
];

/**
 * Creates a filter that lists only what is about the caller.
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {string} text
 * @param {() => void} changed
 */
const only = (query, name, text, changed) => h("label", { class: "check" },
  h("input", { type: "checkbox", value: "me", checked: query.get(name) === "me", onchange: narrow(query, name, changed) }), text);

/**
 * Shows the deployments of all repositories.
 * @param {View} screen
 */
export function deployments(screen) {
  const { query } = screen;
  const place = list(screen, {
    label: "Deployments",
    path: () => `/v1/deployments?per_page=25${picked(query, ["environment", "status", "repository", "ref", "sha", "created_by", "awaiting"])}`,
    row: deploymentRow,
    none: () => empty("rocket", "No deployments", "No deployment matches. Deploy a branch from its repository.",
      h("a", { class: "button", href: "/repositories" }, "Open repositories")),
  });
  // No list has the environments of all repositories, so that one of them is typed.
  const named = search(query, "environment", "Environment", place.restart);
  named.setAttribute("list", "environments");
  return [heading("Deployments"), h("div", { class: "filters" }, named,
    h("datalist", { id: "environments" }, ENVIRONMENTS.map((name) => h("option", { value: name }))),
    properties(query, place.restart), only(query, "awaiting", "Waiting for me", place.restart)), place];
}

/**
 * Creates the fields of a retry or a rollback.
 * @param {string | null} [admin] why the caller may not override the rules
 */
export const repetition = (admin) => [
  choice(h("input", { type: "checkbox", name: "current" }), "With the current stored variables",
    "Those of the account, the repository and the environment. Otherwise it gets the versions of the earlier deployment."),
  admin === null && field("Reason to override the rules", input("override.reason", { maxlength: 200 }),
    "Leave it empty to keep to the environment’s rules. Approvals are needed all the same."),
];

/** Returns the versions of the stored variables that the fields choose. @param {FormData} values */
export const versions = (values) => (values.has("current") ? "current" : "frozen");

/** Returns the fields of a rollback. @param {FormData} values */
export const repeated = (values) => ({ stored_variables: versions(values),
  ...(values.get("override.reason") ? { override: { reason: values.get("override.reason") } } : {}) });
