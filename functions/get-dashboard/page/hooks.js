// The hooks of a repository: what pushes and calls of programs deploy.

import { all, change, get } from "./api.js";
import { HOSTS } from "./connections.js";
import { h, icon, typed } from "./dom.js";
import { ask, field, input, offerRefs, once, remover, select } from "./form.js";
import { live, loaded, settingsList } from "./list.js";
import { lacks, nameOf, names } from "./session.js";
import { OVERLAPS } from "./tokens.js";
import { badge, button, copyable, dots, row, short, spoken, time } from "./ui.js";

const SENDERS = { ...HOSTS, deploy: "Deploy hook" };
/** Where the URL and the secret are entered. @type {Record<string, string>} */
const ENTER = {
  github: "Settings → Webhooks → Add webhook: the content type application/json, and just the push event.",
  gitlab: "Settings → Webhooks → Add new webhook: the secret as the signing token, or in versions without one as the secret token; push events and tag push events.",
  gitea: "Settings → Webhooks → Add webhook → Gitea: the method POST, and the events push and delete.",
  bitbucket: "Repository settings → Webhooks → Add webhook: the trigger repository push.",
};
/** @type {Record<Delivery["outcome"], ["good" | "bad" | "wait" | "idle", IconName]>} */
const RESULTS = { queued: ["wait", "clock"], deployed: ["good", "check"], already_deployed: ["idle", "skip"],
  canceled: ["idle", "slash"], skipped: ["idle", "skip"], failed: ["bad", "cross"] };

/**
 * Shows the hooks.
 * @param {View} screen
 */
export function repositoryHooks(screen) {
  const { params, signal } = screen;
  return loaded(screen, () => get(`/v1/repositories/${encodeURIComponent(params.name)}`, signal),
    (/** @type {Repository} */ found) => {
    const path = `/v1/repositories/${found.id}`;
    const reason = lacks(found, "admin", "repositories:write");
    const settings = (/** @type {Children} */ text) => h("a", { href: `/repositories/${found.name}/settings` }, text);
    return settingsList(screen, {
      title: "Hooks", path: `${path}/hooks?per_page=25`, names, add: ["Add hook", () => addHook(path, signal), reason],
      under: settings(["Back to the settings of ", typed(found.name)]),
      intro: found.deploy_rules.length
        ? ["A git host sends its pushes to a hook, and the ", settings("deploy rules"), " say what they deploy."]
        : ["No push deploys anything yet: the repository has no deploy rules. ", settings("Add a rule"), "."],
      none: ["link", "No hooks yet", "Add a hook, and enter its URL and secret at your git host. Pushes then deploy."],
      row: (/** @type {Hook} */ one, actors, reload) => hookRow(screen, path, one, actors, reload, reason),
    });
  });
}

/**
 * @param {View} screen
 * @param {string} repository the path of the repository
 * @param {Hook} one
 * @param {Actors} actors
 * @param {() => void} reload
 * @param {string | null} reason
 */
function hookRow(screen, repository, one, actors, reload, reason) {
  const { id, provider, environment, previous_secret_expires_at: overlap, last_delivery_at: last } = one;
  const path = `${repository}/hooks/${id}`;
  return row(id, copyable(one.url, "the URL"), [
    dots(environment ? ["Deploys ", typed(one.ref ?? "the default branch"), ` to ${environment}`] : "Follows the deploy rules",
      last ? ["Last delivery ", time(last)] : "Nothing delivered yet", overlap && ["The old secret ends ", time(overlap)],
      ["Created ", time(one.created_at), " by ", typed(nameOf(one.created_by, actors))]), deliveries(screen, path,
      "Nothing has been delivered. Push a commit, send a test from the host, or call the URL.", deliveryRow),
  ], [button("Rotate", () => rotateHook(path).then(reload), { reason, label: `Rotate ${id}` }),
    remover("Delete", id, "Deliveries to its URL are refused from now on.", path, reload, reason)],
  badge("idle", environment ? "rocket" : "branch", SENDERS[provider]));
}

/**
 * Shows what a hook has received or a webhook was sent, and follows it while it is open.
 * @param {View} screen
 * @param {string} path
 * @param {string} none
 * @param {(delivery: any, again: () => void) => Node} item
 */
export function deliveries(screen, path, none, item) {
  let open = new AbortController();
  let most = 10;
  const read = () => live({ ...screen, signal: AbortSignal.any([screen.signal, open.signal]) },
    () => `${path}/deliveries?per_page=${most}`,
    (/** @type {{data: unknown[], meta: {next_cursor: string | null}}} */ { data, meta }, again) => [
    data.length ? h("ul", { "aria-label": "Deliveries" }, data.map((one) => item(one, again)))
      : h("p", { class: "none" }, none),
    meta.next_cursor && most < 100 && button("Show more", () => ((most = 100), again()), { kind: "plain" }),
  ], () => 5, 1);
  const place = h("div", { "data-kept": true });
  return h("details", { ontoggle: (/** @type {Event} */ { target }) => {
    open.abort();
    open = new AbortController();
    place.replaceChildren(/** @type {HTMLDetailsElement} */ (target).open ? read() : "");
  } }, h("summary", null, icon("chevron"), "Deliveries"), place);
}

/** @param {Delivery} one */
const deliveryRow = (one) => h("li", { class: "delivery", "data-key": one.id },
  badge(...RESULTS[one.outcome], spoken(one.outcome)), h("div", null, typed(one.reason), h("div", { class: "meta" }, dots(
    time(one.received_at), typed(one.event), one.ref && typed(one.ref.replace(/^refs\/(heads|tags)\//, "")),
    one.sha && short(one.sha), ...one.deployments.map((id) => h("a", { href: `/deployments/${id}` }, "Deployment"))))));

/** @param {string} path @param {AbortSignal} signal */
async function addHook(path, signal) {
  const ref = input("ref", { maxlength: 255 });
  /** @type {EnvironmentState[]} */
  const environments = await all(`${path}/environments`, signal);
  const target = h("fieldset", { class: "fields", hidden: true, disabled: true },
    field("Environment", select("environment", environments.map(({ name }) => [name, name]))),
    field("Ref", ref, "Leave it empty for the default branch."), offerRefs(ref, path, signal));
  const provider = select("provider", Object.entries(SENDERS), "github",
    { onchange: () => (target.hidden = target.disabled = provider.value !== "deploy") });
  const made = await ask("Add a hook", [
    field("Sender", provider, "A deploy hook is a URL that any program can call, for example when content has changed."), target,
  ], "Add hook", (values) =>
    change("POST", `${path}/hooks`, { ...Object.fromEntries(values), ref: values.get("ref") || null }));
  if (made) await showHook(made);
}

/** @param {string} path */
async function rotateHook(path) {
  const rotated = await overlap(path,
    "During the overlap the old secret works, too, so that you can enter the new one without a refused delivery.");
  if (rotated) await showHook(rotated);
}

/** Replaces a secret. @param {string} path @param {string} text what the overlap is for */
export const overlap = (path, text) => ask("Rotate the secret", [
  h("p", null, text), field("Overlap", select("overlap", OVERLAPS, "24")),
], "Rotate", (values) => change("POST", `${path}/rotate`, { overlap_seconds: Number(values.get("overlap")) * 3600 }));

/** Shows the secret of a hook, and where to enter it. @param {Hook} one */
const showHook = ({ provider, url, secret = "" }) =>
  provider === "deploy"
    ? once("The URL of the deploy hook", "Copy it now. It has the secret, and can’t be shown again.", url, [
      h("p", null, "Programs that can send a header keep the secret out of the URL:"),
      h("pre", { tabindex: "0" }, `curl -X POST -H "Authorization: Bearer ${secret}" ${url.split("?")[0]}`)])
    : once("The secret of the hook", "Copy it now. It can’t be shown again.", secret,
      [h("p", null, `Enter it and the URL at ${SENDERS[provider]}, under `, ENTER[provider]), copyable(url, "the URL")]);
