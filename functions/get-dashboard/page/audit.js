// Who changed what, when and from where.

import { all, get } from "./api.js";
import { h, icon, typed } from "./dom.js";
import { filter, input, narrow } from "./form.js";
import { me, refusal } from "./session.js";
import { button, copyable, dots, empty, facts, failure, heading, loading, spoken, time } from "./ui.js";

/** @satisfies {AuditEvent["action"][]} */
const ACTIONS = /** @type {const} */ (["account.created", "account.updated", "application.created",
    "application.deleted", "application.updated", "connection.created", "connection.deleted", "connection.updated", "deployment.approved", "deployment.canceled", "deployment.created",
    "deployment.failed", "deployment.rejected", "deployment.requeued", "deployment.started", "deployment.succeeded", "deployment.superseded",
    "environment.created", "environment.deleted", "environment.updated", "hook.created", "hook.deleted", "hook.rotated", "hook.updated", "invitation.accepted", "invitation.created", "invitation.deleted",
    "member.linked", "member.removed", "member.updated", "repository.cache_cleared", "repository.created", "repository.deleted",
    "repository.updated", "session.created", "session.ended", "team.created", "team.deleted", "team.member_added", "team.member_removed", "team.repository_added", "team.repository_removed", "team.updated",
    "token.created", "token.deleted", "token.rotated", "token.updated", "trust.created", "trust.deleted",
    "trust.exchanged", "trust.updated", "variable.created", "variable.deleted", "variable.updated",
    "webhook.created", "webhook.deleted", "webhook.disabled", "webhook.redelivered", "webhook.rotated", "webhook.tested", "webhook.updated"]);
/** An action that is missing fails the check of types. @typedef {Never<Exclude<AuditEvent["action"], (typeof ACTIONS)[number]>>} Missing */

/** Reads `team.member_added` as "added member to team". @param {string} action */
function words(action) {
  const [, noun, part, verb] = action.match(/^(\w+)\.(?:(\w+)_)?(\w+)$/) ?? [];
  return verb ? `${verb} ${part ? `${part} ${verb === "added" ? "to" : "from"} ` : ""}${noun}` : action;
}

/**
 * Shows the audit log.
 * @param {View} screen
 */
export function audit({ query, signal }) {
  const place = h("div", { class: "place" }, loading(8));
  const rows = h("ul", { class: "rows", "aria-label": "Events" });
  const more = h("nav", { class: "pages", "aria-label": "Older events" });
  const names = ["actor", "action", "target", "repository", "since", "until"];

  const read = async (/** @type {string | null} */ cursor) => {
    const wanted = new URLSearchParams({ per_page: "50", ...(cursor ? { cursor } : {}) });
    for (const name of names) {
      const value = query.get(name);
      // A day ends where the next one begins.
      const day = value && /^\d{4}-\d\d-\d\d$/.test(value)
        ? Date.parse(`${value}T00:00:00Z`) + (name === "until" ? 86_400_000 : 0) : NaN;
      if (value) wanted.set(name, Number.isNaN(day) ? value : new Date(day).toISOString().replace(/\.\d+/, ""));
    }
    try {
      /** @type {{data: AuditEvent[], meta: {next_cursor: string | null}}} */
      const { data, meta } = await get(`/v1/audit_events?${wanted}`, signal);
      if (!cursor) rows.replaceChildren();
      rows.append(...data.map(eventRow));
      const older = meta.next_cursor;
      more.replaceChildren(older ? button("Show older events", () => read(older)) : "");
      place.replaceChildren(rows.childElementCount || older ? rows
        : empty("audit", "No events", "No change matches. Widen the filters; events are kept for 400 days."), more);
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(failure(error, start));
    }
  };
  const start = () => (place.replaceChildren(loading(8)), void read(null));

  const actor = filter(query, "actor", "Actor", [["", "Anybody"]], start);
  const action = filter(query, "action", "Action",
    [["", "Any action"], ...ACTIONS.map((name) => /** @type {[string, string]} */ ([name, words(name)]))], start);
  if (!refusal("account:read")) all("/v1/members", signal).then((members) => {
    actor.append(...members.map(({ id, email }) => h("option", { value: id }, email)));
    actor.value = query.get("actor") ?? "";
  }, () => {});
  const repository = filter(query, "repository", "Repository", [["", "Any repository"]], start);
  if (!refusal("repositories:read")) all("/v1/repositories", signal).then((repositories) => {
    repository.append(...repositories.map(({ id, name }) => h("option", { value: id }, name)));
    repository.value = query.get("repository") ?? "";
  }, () => {});
  start();
  return [heading("Audit log"),
    h("p", { class: "intro" }, "Every change in the account, newest first. Events are kept for 400 days, unless the account has a time of its own."),
    h("div", { class: "filters" }, actor, action, repository,
      input("target", { "aria-label": "ID of the changed resource", placeholder: "ID of the resource",
          value: query.get("target"), onchange: narrow(query, "target", start) }),
      h("label", { class: "check" }, "From ",
        input("since", { type: "date", value: query.get("since"), onchange: narrow(query, "since", start) })),
      h("label", { class: "check" }, "to ",
        input("until", { type: "date", value: query.get("until"), onchange: narrow(query, "until", start) }))), place];
}

/** @param {unknown} value */
const plain = (value) =>
  (value === null || value === undefined ? "—" : typeof value === "string" ? value : JSON.stringify(value));

/** @param {AuditEvent} event */
function eventRow(event) {
  const { actor, target, changes } = event;
  const who = actor.id === me().user?.id && actor.type === "user" ? "You" : typed(actor.name);
  return h("li", { class: "row" }, h("details", null,
    h("summary", null, icon("chevron"),
      h("span", { class: "title" }, who, ` ${words(event.action)} `,
        target.name ? h("strong", null, typed(target.name)) : h("code", null, target.id)),
      h("span", { class: "meta" }, dots(changes.filter(({ from }) => from !== null && from !== undefined)
        .map(({ field }) => spoken(field)).join(", "), time(event.created_at)))),
    facts([
      ["Actor", [typed(actor.name), actor.id && [` (${actor.type}) `, h("code", null, actor.id)]]],
      ["Target", [`${target.type} `,
          target.type === "deployment" ? h("a", { href: `/deployments/${target.id}` }, target.id)
          : h("code", null, target.id)]],
      event.token_id && ["Token", h("code", null, event.token_id)],
      event.session_id && ["Session", h("code", null, event.session_id)],
      event.client_id && ["Client", h("code", null, event.client_id)],
      event.source_address && ["Address", h("code", null, event.source_address)],
      event.request_id && ["Request", copyable(event.request_id, "the request ID")],
    ]),
    changes.length > 0 && h("table", null,
      h("thead", null, h("tr", null, ["Field", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, changes.map(({ field, from, to }) =>
          h("tr", null, h("th", { scope: "row" }, field), h("td", null, typed(plain(from))),
            h("td", null, typed(plain(to)))))))));
}
