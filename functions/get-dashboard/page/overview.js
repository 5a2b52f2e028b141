// What happens in all repositories: what waits for the caller, what runs, what fails.

import { follow, page } from "./api.js";
import { active, deploymentRow } from "./deployments.js";
import { h, morph } from "./dom.js";
import { refusal } from "./session.js";
import { empty, failure, heading, linkButton, loading, section } from "./ui.js";

/**
 * Shows the overview.
 * @param {View} screen
 */
export function overview({ signal }) {
  const place = h("div", { class: "place" }, loading(6));
  /** @type {Page<Deployment>} */
  let waiting = { items: [], total: 0, actors: {}, next: null, previous: null };
  const start = () => follow(() => "/v1/deployments?per_page=100", (body) => {
    // What waits is asked for apart: it may be older than the newest hundred.
    page("/v1/deployments?per_page=25&awaiting=me", signal).then((value) => ((waiting = value), show(body)),
      () => show(body));
    return body.data.some((/** @type {Deployment} */ one) => active(one.status)) ? 5 : 15;
  }, signal).catch((error) => signal.aborted
    || place.replaceChildren(failure(error, () => (place.replaceChildren(loading(6)), void start()))));
  const show = (/** @type {{data: Deployment[], actors: Actors}} */ { data, actors }) => {
    const shown = h("div", { class: "place" }, data.length ? sections(data, actors ?? {}, waiting) : newcomer());
    morph(place, shown);
  };
  start();
  return [heading("Overview",
      linkButton("Deploy", "/repositories",
        { kind: "primary", icon: "rocket", reason: refusal("deployments:write") })), place];
}

const newcomer = () => empty("rocket", "Nothing has been deployed yet",
  "Choose a repository and deploy a branch. Running, failed and waiting deployments then appear here.",
  linkButton("Open repositories", "/repositories", { kind: "primary", reason: refusal("repositories:read") }));

/**
 * Returns the last ended deployment of each lane whose last one failed.
 * @param {Deployment[]} newestFirst
 */
export function failing(newestFirst) {
  const seen = new Set();
  return newestFirst.filter(({ repository_id: repository, environment, ref, status }) => {
    if (status !== "succeeded" && status !== "failed") return false;
    const lane = JSON.stringify([repository, environment, environment === "preview" ? ref : ""]);
    return !seen.has(lane) && seen.add(lane) && status === "failed";
  });
}

/** @param {Deployment[]} all @param {Actors} actors @param {Page<Deployment>} waiting */
function sections(all, actors, waiting) {
  const running = all.filter((one) => active(one.status) && !waiting.items.some(({ id }) => id === one.id));
  const failed = failing(all);
  /** @type {(title: string, items: Deployment[], none: string, names?: Actors, more?: string) => HTMLElement} */
  const part = (title, items, none, names = actors, more = "") =>
    section([title, " ", h("span", { class: "count" }, items.length)],
    items.length ? h("ul", { class: "rows", "aria-label": title }, items.map((one) => deploymentRow(one, names)))
      : h("p", { class: "none" }, none),
    more && h("a", { href: more }, "See all"));
  return [
    part("Waiting for you", waiting.items, "No deployment needs your approval.", waiting.actors),
    part("Running and queued", running, "No deployment is queued or in progress."),
    part("Failing", failed, "The last deployment of every environment succeeded."),
    part("Recent", all.filter((one) => !running.includes(one) && !waiting.items.some(({ id }) => id === one.id)
        && !failed.includes(one)).slice(0, 8), "No other deployment.", actors, "/deployments"),
  ];
}
