// The account's settings, and its limits as meters.

import { call } from "./api.js";
import { h, typed } from "./dom.js";
import { choice, choices, form } from "./form.js";
import { live, loaded } from "./list.js";
import { me, refusal } from "./session.js";
import { facts, heading, say, section, time } from "./ui.js";

const PLANS = { starter: "Starter", pro: "Pro", enterprise: "Enterprise" };

/**
 * Shows the account.
 * @param {View} screen
 */
export function account(screen) {
  return h("div", { class: "narrow" }, heading("Account and limits"), loaded(screen, async () => {
    const response = await call("GET", "/v1/account", { signal: screen.signal });
    return { one: /** @type {Account} */ (await response.json()), tag: response.headers.get("etag") };
  }, ({ one, tag }) => [
    facts([["Name", typed(one.slug)], ["Plan", PLANS[one.plan] ?? one.plan], ["ID", h("code", null, one.id)],
        ["Created", time(one.created_at)],
        ["You", [typed(me().user?.email ?? me().application?.name ?? ""), me().user && ` (${me().user?.role})`]]]),
    section("Builds", builds(one)),
    settings(one, tag),
  ]), section("Limits", limits(screen)));
}

/** @param {Account} one */
function builds({ concurrent_builds: { running, limit }, build_minutes: minutes }) {
  return h("div", { class: "meters" },
    meter("Deployments in progress", running, limit, "Further ones wait in the queue."),
    minutes.limit
      ? meter("Build minutes in this month", minutes.used, minutes.limit,
        ["Then no deployment is created until ", time(minutes.resets_at), "."])
      : h("p", { class: "hint" }, `${minutes.used} build ${minutes.used === 1 ? "minute" : "minutes"} in this month, without a limit.`));
}

/** @param {Account} one @param {string | null} tag */
function settings(one, tag) {
  return section("Settings", form([
    choices("Every member may", "radio", "base_permission", [
      { value: "none", text: "do what their teams allow", hint: "Public repositories stay readable." },
      { value: "read", text: "read every repository" },
      { value: "deploy", text: "deploy every repository" },
      { value: "admin", text: "change every repository" },
    ], [one.base_permission], "Teams can give more, not less."),
    choice(h("input", { type: "checkbox", name: "permanent_tokens", checked: one.permanent_tokens }), "Allow permanent tokens",
      "Tokens that never expire. Those that exist stay valid when this is turned off."),
  ], "Save", async (values) => {
    const response = await call("PATCH", "/v1/account",
      { body: { base_permission: values.get("base_permission"), permanent_tokens: values.has("permanent_tokens") },
        headers: tag ? { "If-Match": tag } : {} });
    tag = response.headers.get("etag");
    me().account.permanent_tokens = (await response.json()).permanent_tokens;
    say("Saved. The change takes effect within 30 seconds.");
  }, { reason: refusal("account:write", "owner") }));
}

/** @param {View} screen */
function limits(screen) {
  return live(screen, () => "/v1/rate_limit",
    (/** @type {RateLimit} */ { limit, remaining, burst, reset }) => h("div", { class: "meters" },
    meter("Requests in this minute", limit - remaining, limit,
      [`${remaining} left. The minute ends `, time(new Date(reset * 1000).toISOString()), "."]),
    meter("Requests at once", burst.limit - burst.remaining, burst.limit,
      `${burst.remaining} left. The allowance refills evenly over a minute.`),
    h("p", { class: "hint" }, "All members, programs and this page share both limits. Reading them does not count.")),
      () => 5, 2);
}

/** @param {string} label @param {number} used @param {number} most @param {Children} text */
function meter(label, used, most, text) {
  return h("div", { class: "meter" },
    h("div", null, h("span", null, label), h("span", { class: "tabular" }, `${used} of ${most}`)),
    h("meter", { "aria-label": label, min: 0, max: most, value: used, high: most * 0.8, optimum: 0 },
      `${used} of ${most}`), h("div", { class: "hint" }, text));
}
