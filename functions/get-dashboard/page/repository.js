// A repository: its environments, and the history of its deployments.

import { change, get } from "./api.js";
import { deploymentRow, filters, repeated, repetition, waits } from "./deployments.js";
import { h, typed } from "./dom.js";
import { ask, field, input, remover } from "./form.js";
import { list, live, loaded, picked } from "./list.js";
import { go } from "./route.js";
import { lacks } from "./session.js";
import { badge, button, copyable, dots, empty, heading, linkButton, opened, section, short, status, time } from "./ui.js";

/**
 * Shows a repository.
 * @param {View} screen
 */
export function repository(screen) {
  const { params, signal } = screen;
  const path = `/v1/repositories/${encodeURIComponent(params.name)}`;
  return loaded(screen, () => get(path, signal), (/** @type {Repository} */ found) => {
    const [deploy, admin] = [lacks(found, "deploy", "deployments:write"), lacks(found, "admin", "repositories:write")];
    const base = `/repositories/${found.name}`;
    // The address may have a former name, or the ID.
    if (found.name !== params.name) return void go(base + location.search, { replace: true });
    const history = list(screen, {
      label: "History",
      path: () => `${path}/deployments?per_page=15${picked(screen.query, ["environment", "status", "ref", "sha", "created_by"])}`,
      row: deploymentRow,
      none: () => empty("rocket", "No deployments",
        screen.query.size ? "No deployment matches." : "Deploy a branch to one of the environments.",
        linkButton("Deploy", `${base}/deploy`, { reason: deploy })),
    });
    const bar = filters(screen.query, history.restart);
    /** Shows a page of the environments, and the pages after it. @param {number} number @returns {HTMLElement} */
    const environments = (number) => {
      const others = h("div");
      /** What the environments looked like when the history was read. */
      let state = "";
      const place = live(screen, () => `${path}/environments?per_page=100${number > 1 ? `&page=${number}` : ""}`,
        (/** @type {{data: EnvironmentState[], meta: {total: number}}} */ { data, meta }, reload) => {
        const now = JSON.stringify(data);
        const changed = state !== now;
        if (state && changed) history.reload();
        state = now;
        const choice = /** @type {HTMLSelectElement} */ (bar.querySelector("select"));
        for (const { name } of data) {
          if (name.endsWith("*") || [...choice.options].some(({ value }) => value === name)) continue;
          choice.append(h("option", { value: name }, name));
        }
        if (meta.total > number * 100 && !others.childElementCount) others.append(environments(number + 1));
        return h("ul", { class: "cards", "aria-label": number > 1 ? `Environments, page ${number}` : "Environments" },
          data.map((one) => environmentCard(one, (id) => named(screen, id, changed), base, path, deploy, admin, reload)));
      }, ({ data }) => (data.some((/** @type {EnvironmentState} */ one) => one.in_progress.length) ? 3 : 10));
      return h("div", null, place, others);
    };
    return [
      heading(typed(found.name),
        [linkButton("Settings", `${base}/settings`, { icon: "settings" }),
          linkButton("Deploy", `${base}/deploy`, { kind: "primary", icon: "rocket", reason: deploy })],
        dots(found.visibility === "private" ? badge("idle", "lock", "Private") : badge("idle", "team", "Public"),
          ["Default branch ", typed(found.default_branch)], copyable(found.clone_url, "the clone URL"))),
      section("Environments", environments(1),
        button("Add environment", () => addEnvironment(path, base), { icon: "plus", reason: admin })),
      section("History", [bar, history]),
    ];
  });
}

/** The deployments that environments name, as they were read last.
 * @type {Map<string, Deployment>} */
const known = new Map();

/**
 * Shows a deployment that an environment names by its id.
 * @param {View} screen
 * @param {string} id
 * @param {boolean} changed whether the environments have changed since it was read
 */
function named(screen, id, changed) {
  const place = h("li", { "data-key": id },
    known.has(id) ? line(/** @type {Deployment} */ (known.get(id)))
    : h("a", { href: `/deployments/${id}` }, "Deployment"));
  if (changed || !known.has(id)) {
    get(`/v1/deployments/${id}`, screen.signal).then((deployment) => {
      known.set(id, deployment);
      document.querySelector(`.lane [data-key="${id}"]`)?.replaceChildren(...line(deployment));
    }, () => {});
  }
  return place;
}

/** @param {Deployment} one */
const line = (one) => [h("div", { class: "line" }, status(one),
    h("a", { href: `/deployments/${one.id}` }, `#${one.number}`), typed(one.ref)), h("small", null, waits(one) ?? "")];

/**
 * Shows an environment: what is live, what runs, what waits and why.
 * @param {EnvironmentState} one
 * @param {(id: string) => Node} show shows a deployment by its id
 * @param {string} base
 * @param {string} path
 * @param {string | null} deploy
 * @param {string | null} admin
 * @param {() => void} reload
 */
function environmentCard(one, show, base, path, deploy, admin, reload) {
  const { name, live: now, in_progress: running, queued, frozen, frozen_until: until,
    required_approvals: approvals, removed_after_days: days } = one;
  const more = queued.length - 3;
  return h("li", { class: "card", "data-key": name },
    h("header", null, h("h3", null, name), (frozen || until) && badge("wait", "snow", "Frozen"),
      until && h("span", { class: "muted" }, "ends ", time(until)),
      approvals > 0 && h("span", { class: "muted" }, `needs ${approvals} ${approvals === 1 ? "approval" : "approvals"}`)),
    now ? h("div", { class: "live" }, badge("good", "check", "Live"),
      h("span", null, h("a", { href: `/deployments/${now.deployment_id}` }, `#${now.number}`), " ", short(now.sha)),
      h("span", { class: "muted" }, time(now.since)), opened(now, ""))
      : h("div", { class: "live muted" }, name.endsWith("*") ? "Deployments create its members." : "Nothing is live yet."),
    days && h("small", null, `Removed ${days} days after the last deployment.`),
    (running.length > 0 || queued.length > 0)
      && h("ul", { class: "lane" }, [...running, ...queued.slice(0, 3)].map(show),
      more > 0 && h("li", { class: "muted" }, `${more} more wait.`)),
    h("footer", null,
      linkButton("Deploy", `${base}/deploy?environment=${name}`,
        { reason: deploy ?? ((frozen || until) && admin ? "The environment is frozen." : null) }),
      button("Roll back", () => rollBack(path, one, admin),
        { reason: deploy ?? (now ? null : "Nothing is live that could be rolled back.") }),
      linkButton("Settings", `${base}/environments/${name}`,
        { kind: "plain", reason: admin && deploy ? admin : null }),
      one.created_at && remover("Delete", name, "Its settings and variables are deleted, and its deployments stay.",
        `${path}/environments/${name}`, reload, admin)));
}

/** Asks for an environment, adds it and opens its settings. @param {string} path @param {string} base */
async function addEnvironment(path, base) {
  const made = await ask("Add an environment", [
    field("Name", input("name", { required: true, maxlength: 40, placeholder: "qa" }),
      "One that ends with *, such as review-*, is a pattern. Deployments create its members."),
    field("Days without a deployment",
      input("removed_after_days", { type: "number", min: 1, max: 365, placeholder: 30, class: "short" }),
      "After them, a member of a pattern is removed."),
  ], "Add environment", (values) => change("POST", `${path}/environments`,
    { name: values.get("name"), removed_after_days: Number(values.get("removed_after_days")) || null }));
  if (made) go(`${base}/environments/${made.name}`);
}

/**
 * Asks whether to roll an environment back to the deployment before the live one, and does it.
 * @param {string} path the repository's
 * @param {EnvironmentState} environment
 * @param {string | null} admin why the caller may not override the rules
 */
async function rollBack(path, { name, live: now }, admin) {
  /** @type {{data: Deployment[]}} */
  const { data } = await get(`${path}/deployments?environment=${name}&status=succeeded&per_page=100`);
  const before = data.find((one) => one.number < (now?.number ?? 0) && one.sha !== now?.sha)
    ?? data.find((one) => one.number < (now?.number ?? 0));
  const created = await ask(`Roll back ${name}`,
    [h("p", null, before ? ["This creates a deployment that repeats ", h("strong", null, `#${before.number}`), " (",
      typed(before.ref), " at ", short(before.sha), ") with its variables."]
    : "This creates a deployment that repeats the successful one before the live one."), repetition(admin)], "Roll back",
    (values) => change("POST", `${path}/rollback`, { environment: name, deployment_id: before?.id, ...repeated(values) }));
  if (created) go(`/deployments/${created.id}`);
}
