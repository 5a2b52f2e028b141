// The sessions of the caller.

import { h, typed } from "./dom.js";
import { remover } from "./form.js";
import { list } from "./list.js";
import { refusal } from "./session.js";
import { badge, dots, empty, heading, row, time } from "./ui.js";

/**
 * Names the browser and the system that a user agent tells of.
 * @param {string | null} agent
 */
function browser(agent) {
  const name = agent?.match(/(Edg|OPR|Firefox|Chrome|Safari)\//)?.[1];
  const system = agent?.match(/Windows|Android|iPhone|iPad|Mac OS|Linux|CrOS/)?.[0];
  const known = name && { Edg: "Edge", OPR: "Opera", Firefox: "Firefox", Chrome: "Chrome", Safari: "Safari" }[name];
  return known ? `${known}${system ? ` on ${system}` : ""}` : agent?.slice(0, 60) || "Unknown browser";
}

/**
 * Shows the sessions.
 * @param {View} screen
 */
export function sessions(screen) {
  return [heading("Sessions"),
    h("p", { class: "intro" },
      "Each sign-in to this dashboard makes a session of at most seven days, which ends earlier if it is not used for twelve hours. End those that you do not know."),
        list(screen, {
    label: "Sessions",
    path: () => "/v1/sessions?per_page=25",
    none: () => empty("person", "No sessions", "You are signed in without a session."),
    row: (/** @type {Session} */ one, _, reload) => row(one.id, typed(browser(one.user_agent)),
      dots(one.method === "oauth2" ? "Identity provider" : "Token",
        one.source_address && ["From ", h("code", null, one.source_address)], ["Signed in ", time(one.created_at)],
        one.last_used_at && ["Last used ", time(one.last_used_at)], ["Expires ", time(one.expires_at)]),
      remover("End", `the session of ${browser(one.user_agent)}`, "Whoever uses it has to sign in again.",
        `/v1/sessions/${one.id}`, reload,
          one.current ? "This is your own session. Sign out to end it." : refusal("tokens:write")),
      one.current ? badge("good", "check", "This one") : badge("idle", "person", "Open")),
  })];
}
