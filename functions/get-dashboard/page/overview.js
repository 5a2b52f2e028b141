// What happens in all repositories: what waits for the caller and for others, what runs, what fails.

import { follow, page } from "./api.js";
import { active, deploymentRow, lacking } from "./deployments.js";
import { h, morph } from "./dom.js";
import { refusal } from "./session.js";
import { empty, failure, heading, linkButton, loading, section } from "./ui.js";

/** The waiting deployments whose places in the queue are followed. */
const FOLLOWED = 8;

/**
 * Shows the overview.
 * @param {View} screen
 */
export function overview({ signal }) {
  const place = h("div", { class: "place" }, loading(6));
  /** @type {Page<Deployment>} */
  let mine = { items: [], total: 0, actors: {}, next: null, previous: null };
  /** @type {Deployment[]} */
  let all = [];
  /** @type {Actors} */
  let actors = {};
  /** The places in queues, which a list does not tell. @type {Map<string, Deployment["queue"]>} */
  const queues = new Map();
  const start = () => follow(() => "/v1/deployments?per_page=100", (body) => {
    all = body.data;
    actors = body.actors;
    // What waits for the caller is asked for apart: it may be older than the newest hundred.
    page("/v1/deployments?per_page=25&awaiting=me", signal).then((value) => ((mine = value), show()), show);
    const waiting = all.filter((one) => one.status === "queued" && !lacking(one) && !queues.has(one.id));
    waiting.slice(0, FOLLOWED - queues.size).forEach(({ id }) => followQueue(id));
    return all.some((one) => active(one.status)) ? 5 : 15;
  }, signal).catch((error) => signal.aborted
    || place.replaceChildren(failure(error, () => (place.replaceChildren(loading(6)), void start()))));
  const followQueue = (/** @type {string} */ id) => {
    queues.set(id, null);
    follow(() => `/v1/deployments/${id}`, (/** @type {Deployment} */ { queue }) => {
      queues.set(id, queue);
      show();
      return queue ? 5 : 0;
    }, signal).catch(() => {}).finally(() => queues.delete(id));
  };
  const show = () =>
    morph(place, h("div", { class: "place" }, all.length ? sections(all, actors, mine, queues) : newcomer()));
  start();
  return [heading("Overview",
      linkButton("Deploy", "/repositories",
        { kind: "primary", icon: "rocket", reason: refusal("deployments:write") })), place];
}

const newcomer = () => empty("rocket", "Nothing has been deployed yet",
  "Choose a repository and deploy a branch. Running, failed and waiting deployments then appear here.",
  linkButton("Open repositories", "/repositories", { kind: "primary", reason: refusal("repositories:read") }));

/**
 * Returns the last deployment of each lane whose last one failed. One that somebody rejected has not run.
 * @param {Deployment[]} newestFirst
 */
export function failing(newestFirst) {
  const seen = new Set();
  return newestFirst.filter(({ repository_id: repository, environment, ref, status, failure }) => {
    if (status !== "succeeded" && status !== "failed" || failure?.code === "rejected") return false;
    const lane = JSON.stringify([repository, environment, environment === "preview" ? ref : ""]);
    return !seen.has(lane) && seen.add(lane) && status === "failed";
  });
}

/**
 * @param {Deployment[]} all
 * @param {Actors} actors
 * @param {Page<Deployment>} mine those that wait for the caller
 * @param {Map<string, Deployment["queue"]>} queues
 */
function sections(all, actors, mine, queues) {
  const others = all.filter(({ id }) => !mine.items.some((one) => one.id === id));
  const waiting = others.filter(({ status }) => status === "queued");
  const failed = failing(all);
  const ended = others.filter((one) => !active(one.status) && !failed.includes(one));
  /** @type {(title: string, items: Deployment[], none: string, query?: string, names?: Actors) => HTMLElement} */
  const part = (title, items, none, query, names = actors) =>
    section([title, " ", h("span", { class: "count" }, items.length)],
    items.length ? h("ul", { class: "rows", "aria-label": title }, items.map((one) => deploymentRow(one, names)))
      : h("p", { class: "none" }, none),
    h("a", { href: `/deployments${query}`, "aria-label": `See all: ${title}` }, "See all"));
  return [
    part("Waiting for me", mine.items, "No deployment needs your approval.", "?awaiting=me", mine.actors),
    part("Waiting", waiting.map((one) => ({ ...one, queue: queues.get(one.id) ?? null })),
      "No other deployment waits.", "?status=queued"),
    part("Running", others.filter(({ status }) => status === "in_progress"), "No deployment is in progress.",
      "?status=in_progress"),
    part("Failing", failed, "The last deployment of every environment succeeded.", "?status=failed"),
    part("Recent", ended.slice(0, 8), "No other deployment.", ""),
    all.length === 100 && h("p", { class: "hint" },
      "Waiting, Running, Failing and Recent look at the newest 100 deployments. “See all” also finds older ones."),
  ];
}
