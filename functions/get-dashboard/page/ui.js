// The parts that screens are made of.

import { h, icon, typed } from "./dom.js";

const EXACT = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

/** @param {string} at */
function relative(at) {
  const seconds = (Date.parse(at) - Date.now()) / 1000;
  for (const [unit, size] of UNITS) if (Math.abs(seconds) >= size) return RELATIVE.format(Math.round(seconds / size),
    unit);
  return seconds > 0 ? "in less than a minute" : "just now";
}

/**
 * Shows a time relative to now, with the exact time on hover.
 * @param {string} at
 */
export const time = (at) => h("time", { datetime: at, title: EXACT.format(new Date(at)) }, relative(at));

setInterval(() => {
  for (const element of document.querySelectorAll("time")) {
    const text = relative(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}, 15_000);

/**
 * Shows how long something took or has been running.
 * @param {string} from
 * @param {string | null} [to]
 */
export function duration(from, to) {
  const seconds = Math.max(0, Math.round(((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/**
 * Shows how long something took. The time of something that still runs counts up.
 * @param {string} from
 * @param {string | null} to
 */
export const elapsed = (from, to) =>
  h("span", { class: "tabular", "data-since": to ? null : from }, duration(from, to));

setInterval(() => {
  for (const element of document.querySelectorAll("[data-since]")) {
    element.textContent = duration(`${element.getAttribute("data-since")}`);
  }
}, 1000);

/** @type {Record<Status | "approval", [IconName, string, string]>} */
const STATUSES = {
  queued: ["clock", "Queued", "wait"],
  approval: ["person", "Needs approval", "wait"],
  in_progress: ["run", "In progress", "busy"],
  succeeded: ["check", "Succeeded", "good"],
  failed: ["cross", "Failed", "bad"],
  canceled: ["slash", "Canceled", "idle"],
  superseded: ["skip", "Superseded", "idle"],
};

/**
 * Shows a word with an icon in a color of its kind.
 * @param {"good" | "bad" | "wait" | "busy" | "idle"} kind
 * @param {IconName} name
 * @param {string} word
 */
export const badge = (kind, name, word) => h("span", { class: `badge ${kind}` }, icon(name), word);

/**
 * Shows the state of a deployment.
 * @param {Deployment} deployment
 */
export function status(deployment) {
  const awaits = deployment.status === "queued" && deployment.approvals.given_by.length < deployment.approvals.required;
  const [name, word, kind] = STATUSES[awaits ? "approval" : deployment.status];
  return badge(/** @type {"good"} */ (kind), name, deployment.cancel_requested && kind === "busy" ? "Canceling" : word);
}

/** Reads a code such as `command_failed` as words. @param {string} code */
export const spoken = (code) => (code[0].toUpperCase() + code.slice(1)).replaceAll("_", " ");

/** @param {string} sha */
export const short = (sha) => h("code", { title: sha }, sha.slice(0, 7));

/**
 * Creates a button. One that may not be used says why: it stays reachable by keyboard, and shows the reason on focus and hover.
 * @param {Children} label
 * @param {() => unknown} onclick
 * @param {{kind?: "primary" | "danger" | "plain", reason?: string | null, icon?: IconName, label?: string, key?: string}} [options]
 */
export function button(label, onclick, { kind, reason, icon: name, label: long, key } = {}) {
  const classes = `button ${kind ?? ""}`;
  const inner = [name && icon(name), label];
  if (!reason) return h("button", { type: "button", class: classes, onclick, "aria-label": long, "data-key": key },
    ...inner);
  return h("span", { class: "reasoned", "data-key": key },
    h("button", { type: "button", class: classes, "aria-disabled": "true", "aria-label": long,
        "aria-description": reason, onclick: () => say(reason) }, ...inner),
    h("span", { class: "tip", "aria-hidden": "true" }, reason));
}

/**
 * Creates a link that looks like a button, or a button that says why it may not be used.
 * @param {string} label
 * @param {string} href
 * @param {{kind?: "primary" | "plain", reason?: string | null, icon?: IconName}} [options]
 */
export const linkButton = (label, href, { kind, reason, icon: name } = {}) =>
  reason ? button(label, () => {}, { kind, reason, icon: name })
    : h("a", { href, class: `button ${kind ?? ""}` }, name && icon(name), label);

/**
 * Creates a link to what is deployed.
 * @param {{environment_url: string | null}} deployed
 * @param {string} [classes]
 */
export const opened = ({ environment_url: href }, classes = "button") => href && /^https?:/.test(href)
  && h("a", { href, class: classes, target: "_blank", rel: "noreferrer" }, icon("link"), "Open");

/**
 * Shows a value with a button that copies it.
 * @param {string} value
 * @param {string} what
 */
export const copyable = (value, what) =>
  h("span", { class: "copyable" }, h("code", null, value),
    button([], async () => {
      await navigator.clipboard.writeText(value);
      say(`Copied ${what}.`);
    }, { kind: "plain", icon: "copy", label: `Copy ${what}` }));

const region = h("div", { class: "toasts", role: "status", popover: "manual" });

/**
 * Says something for some seconds, to screen readers, too.
 * @param {string} text
 */
export function say(text) {
  const toast = h("p", null, text);
  const dialogs = document.querySelectorAll("dialog[open]");
  (dialogs[dialogs.length - 1] ?? document.body).append(region);
  // A popover is above everything else, and is shown again to be above a dialog that was opened after it.
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover();
  region.append(toast);
  setTimeout(() => {
    toast.remove();
    if (!region.childElementCount) region.hidePopover();
  }, 6000);
}

/**
 * Shows that a list or a screen is on its way, in about the space that it will take.
 * @param {number} [rows]
 */
export const loading = (rows = 3) =>
  h("div", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading…"),
    Array.from({ length: rows }, () => h("div", { class: "bone" })));

/**
 * Shows that there is nothing, and the next step.
 * @param {IconName} name
 * @param {string} title
 * @param {Children} text
 * @param {Children} [action]
 */
export const empty = (name, title, text, action) =>
  h("div", { class: "empty" }, icon(name), h("p", { class: "strong" }, title), h("p", null, text), action);

/**
 * Shows why something can't be shown. A refusal for lack of rights says so and offers no second try.
 * @param {unknown} error
 * @param {() => void} [retry]
 */
export function failure(error, retry) {
  const { status: number = 0, code, message, requestId } = /** @type {import("./api.js").ApiError} */ (error);
  const [name, title, text] = FAILURES[number] ?? ["warn", "This could not be loaded", message];
  // A screen that fails as a whole has no other heading.
  const whole = !document.querySelector("h1");
  return h("div", { class: "empty", role: "alert" }, icon(name),
    h(whole ? "h1" : "p", { class: "strong" }, title), h("p", null, typed(text ?? message)),
    number === 403 && h("p", null, code === "insufficient_scope" ? "Sign in with a token that has the scope."
      : "Ask an owner or an admin of the account."), request(requestId),
    FAILURES[number] ? whole && h("a", { class: "button", href: "/" }, "Open the overview")
      : retry && button("Try again", retry));
}

/** The failures that a second try does not mend. @type {Record<number, [IconName, string, string?]>} */
const FAILURES = { 403: ["lock", "You can’t see this"],
  404: ["search", "Not found", "It does not exist, or you may not see it."] };

/** @param {string | undefined} id */
export const request = (id) => id && h("p", { class: "muted" }, "Request ", copyable(id, "the request ID"));

/**
 * Creates the heading of a screen.
 * @param {Children} title
 * @param {Children} [actions]
 * @param {Children} [under]
 */
export const heading = (title, actions, under) =>
  h("header", { class: "heading" },
    h("div", null, h("h1", { tabindex: "-1" }, title), under && h("div", { class: "meta" }, under)),
    actions && h("div", { class: "actions" }, actions));

/**
 * Creates a section with a heading.
 * @param {Children} title
 * @param {Children} content
 * @param {Children} [actions]
 */
export const section = (title, content, actions) =>
  h("section", typeof title === "string" ? { "data-key": title } : null, h("header", { class: "subheading" }, h("h2", null, title),
      actions && h("div", { class: "actions" }, actions)), content);

/**
 * Creates a row of a list.
 * @param {string} key
 * @param {Children} title
 * @param {Children} meta
 * @param {Children} [actions]
 * @param {Children} [lead]
 */
export const row = (key, title, meta, actions, lead) =>
  h("li", { class: "row", "data-key": key }, lead && h("div", { class: "lead" }, lead),
    h("div", { class: "main" }, h("div", { class: "title" }, title), h("div", { class: "meta" }, meta)),
      actions && h("div", { class: "actions" }, actions));

/** Puts a dot between parts.
 * @param {...Children} parts */
export const dots = (...parts) =>
  parts.filter((part) => part !== null && part !== undefined && part !== false && part !== "").map((part) =>
  h("span", { class: "dot" }, part));

/** Shows names and values. @param {([string, Children] | "" | null | false)[]} pairs */
export const facts = (pairs) => h("dl", { class: "facts" },
  pairs.map((pair) => pair && h("div", null, h("dt", null, pair[0]), h("dd", null, pair[1]))));
