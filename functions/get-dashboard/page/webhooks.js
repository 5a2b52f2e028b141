// Webhooks: the URLs to which the account's events are sent.

import { all, change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, changes, field, input, once, remover, select } from "./form.js";
import { deliveries, overlap } from "./hooks.js";
import { settingsList } from "./list.js";
import { refusal } from "./session.js";
import { badge, button, dots, row, say, spoken, time } from "./ui.js";

const RECEIVERS = { standard: "Standard Webhooks", slack: "Slack", teams: "Microsoft Teams" };
/** @type {Record<WebhookDelivery["status"], ["good" | "bad" | "wait", IconName]>} */
const ENDS = { pending: ["wait", "clock"], succeeded: ["good", "check"], failed: ["bad", "cross"] };

/**
 * Shows the webhooks.
 * @param {View} screen
 */
export function webhooks(screen) {
  const reason = refusal("account:write", "admin");
  return settingsList(screen, {
    title: "Webhooks", path: "/v1/webhooks?per_page=25", add: ["Add webhook", addWebhook, reason],
    intro: ["A webhook sends the account’s events to a URL, or to a channel of Slack or Microsoft Teams. ",
      h("a", { href: "/docs/webhooks" }, "What a message looks like"), "."],
    none: ["link", "No webhooks yet", "Add one to be told of deployments that fail, or of any other change."],
    row: (/** @type {Webhook} */ one, _, reload) => webhookRow(screen, one, reload, reason),
  });
}

/**
 * @param {View} screen
 * @param {Webhook} one
 * @param {() => void} reload
 * @param {string | null} reason
 */
function webhookRow(screen, one, reload, reason) {
  const { id, name, enabled } = one;
  const path = `/v1/webhooks/${id}`;
  const act = (/** @type {string} */ text, /** @type {() => Promise<unknown>} */ run, why = reason) =>
    button(text, () => run().then(reload), { reason: why, label: `${text} ${name}` });
  return row(id, typed(name), [
    dots(h("code", null, typed(one.url)), one.events.join(", "), one.environments.join(", "),
      one.repositories.length > 0 && `Repositories: ${one.repositories.length}`,
      one.previous_secret_expires_at && ["The old secret ends ", time(one.previous_secret_expires_at)],
      ["Created ", time(one.created_at), " by ", typed(one.created_by.name)]),
    !enabled && h("p", null, "Disabled ", time(one.disabled_at ?? ""), ": ", typed(one.disabled_reason)),
    deliveries(screen, path, "Nothing has been sent yet.", (sent, again) => sentRow(path, sent, again, reason)),
  ], [
    enabled && act("Test", () => change("POST", `${path}/test`).then(() => say(`A test event is sent to ${name}.`))),
    act("Edit", () => editWebhook(one)),
    one.format === "standard" && act("Rotate", () => overlap(path,
      "During the overlap messages are signed with both secrets, so that none is refused while you enter the new one.")
      .then((rotated) => rotated && showWebhook(rotated))),
    act(enabled ? "Disable" : "Enable", () => change("PATCH", path, { enabled: !enabled })),
    remover("Delete", name, "Nothing is sent to its URL any more.", path, reload, reason),
  ], badge(enabled ? "idle" : "bad", enabled ? "link" : "slash", RECEIVERS[one.format]));
}

/**
 * @param {string} path
 * @param {WebhookDelivery} one
 * @param {() => void} again
 * @param {string | null} reason
 */
function sentRow(path, one, again, reason) {
  const { id, last_attempt: last, event_type: type } = one;
  return h("li", { class: "delivery", "data-key": id }, badge(...ENDS[one.status], spoken(one.status)), h("div", null,
    type, h("div", { class: "meta" }, dots(time(one.created_at), `Attempts: ${one.attempts}`,
      last && (last.error ? typed(last.error) : `HTTP status ${last.response_status}`),
      one.next_attempt_at && ["Next attempt ", time(one.next_attempt_at)]))),
  button("Redeliver", () => change("POST", `${path}/deliveries/${id}/redeliver`).then(again),
    { reason, label: `Redeliver ${type}` }));
}

/** Creates the fields of a webhook. @param {Webhook} [one] */
async function webhookFields(one) {
  /** @type {Repository[]} */
  const repositories = refusal("repositories:read") ? [] : await all("/v1/repositories").catch(() => []);
  return [
    field("Name", input("name", { required: true, maxlength: 100, value: one?.name, placeholder: "Deployment board" })),
    field("URL", input("url", { type: "url", required: true, value: one?.url, placeholder: "https://ops.example.com/in" })),
    !one && field("Format", select("format", Object.entries(RECEIVERS))),
    field("Events", input("events", { required: true, value: one?.events.join(" ") ?? "deployment.*" }),
      "Types with spaces between, such as deployment.failed, deployment.* or * for all."),
    field("Environments", input("environments", { value: one?.environments.join(" ") }), "Leave it empty for all."),
    repositories.length > 0 && field("Repositories", h("select", { name: "repositories", multiple: true },
      repositories.map(({ id, name }) => h("option", { value: id, selected: one?.repositories.includes(id) }, name))),
    "Choose none for all."),
  ];
}

/** Returns the fields of a body. @param {FormData} values */
const webhookBody = (values) => {
  const words = (/** @type {string} */ name) => `${values.get(name)}`.split(/[\s,]+/).filter(Boolean);
  return { ...Object.fromEntries(values), events: words("events"), environments: words("environments"),
    repositories: values.getAll("repositories") };
};

async function addWebhook() {
  const made = await ask("Add a webhook", await webhookFields(), "Add webhook",
    (values) => change("POST", "/v1/webhooks", webhookBody(values)));
  if (made?.secret) await showWebhook(made);
}

/** @param {Webhook} one */
async function editWebhook(one) {
  const saved = await ask(`Edit ${one.name}`, await webhookFields(one), "Save",
    (values) => changes(`/v1/webhooks/${one.id}`, one, webhookBody(values)));
  if (saved?.id) say(`Saved ${saved.name}.`);
}

/** @param {Webhook} one */
const showWebhook = ({ secret = "" }) => once("The secret of the webhook",
  "Copy it now, and give it to the receiver, which verifies messages with it. It can’t be shown again.", secret);
