// The command palette, the shortcuts and their help.

import { all, change } from "./api.js";
import { h, icon } from "./dom.js";
import { dialog } from "./form.js";
import { go } from "./route.js";
import { refusal } from "./session.js";

/** @typedef {{text: string, icon: IconName, run: () => void}} Command */

/** Single keys go somewhere after `g`. @type {Record<string, [string, string]>} */
const PLACES = { o: ["/", "Overview"], r: ["/repositories", "Repositories"], d: ["/deployments", "Deployments"],
  t: ["/settings/api/tokens", "Tokens"], m: ["/settings/members", "Members"], a: ["/audit", "Audit log"],
  s: ["/settings/account", "Settings"] };
const OFF = "single-keys-off";

/** @type {[string, IconName, string][]} */
const SCREENS = [["Overview", "home", "/"], ["Repositories", "repo", "/repositories"],
  ["Deployments", "rocket", "/deployments"], ["Audit log", "audit", "/audit"],
  ["Tokens", "key", "/settings/api/tokens"], ["New token", "plus", "/settings/api/tokens/new"],
  ["Applications", "app", "/settings/api/applications"], ["Trusts", "shield", "/settings/api/trusts"],
  ["Account and limits", "settings", "/settings/account"], ["Members and invitations", "person", "/settings/members"],
  ["Connections", "link", "/settings/connections"], ["Variables", "key", "/settings/variables"],
  ["Webhooks", "run", "/settings/webhooks"],
  ["Teams", "team", "/settings/teams"], ["Sessions", "lock", "/settings/sessions"]];

/** The repositories, read when the palette is opened for the first time. @type {Promise<Repository[]> | undefined} */
let listed;

/** Opens the palette. */
export function palette() {
  if (document.querySelector("dialog[open]")) return;
  /** @type {Command[]} */
  let commands = [...SCREENS.map(([text, name, path]) => ({ text, icon: name, run: () => go(path) })),
    { text: "Help and shortcuts", icon: "search", run: help },
    { text: "Sign out", icon: "back",
      run: () => change("DELETE", "/v1/session").then(() => location.assign("/sign-in")) }];
  /** @type {Command[]} */
  let shown = [];
  let at = 0;
  dialog("Go to", (close) => {
    const options = h("ul", { id: "commands", role: "listbox", "aria-label": "Commands" });
    const run = (/** @type {Command | undefined} */ command) => command && (close(), command.run());
    const field = h("input",
      { type: "text", role: "combobox", "aria-label": "Search screens, repositories and deployments",
        "aria-expanded": "true", "aria-controls": "commands",
        placeholder: "Screen, repository or deployment ID", autocomplete: "off", spellcheck: "false",
        oninput: () => ((at = 0), show()), onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (by && shown.length) at = (at + by + shown.length) % shown.length;
      if (by) event.preventDefault(), show();
      if (event.key === "Enter") event.preventDefault(), run(shown[at]);
    } });
    const show = () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      shown = commands.filter(({ text }) => wanted.every((word) => text.toLowerCase().includes(word))).slice(0, 12);
      const id = field.value.trim().match(/deploy_[a-z2-7]{16}/)?.[0];
      if (id) shown.unshift({ text: `Open ${id}`, icon: "rocket", run: () => go(`/deployments/${id}`) });
      options.replaceChildren(...shown.map((command, index) =>
          h("li", { role: "option", id: `command-${index}`, "aria-selected": `${index === at}`,
              onclick: () => run(command) }, icon(command.icon), command.text)));
      if (!shown.length) options.replaceChildren(h("li", { class: "none" }, "Nothing matches."));
      shown.length ? field.setAttribute("aria-activedescendant", `command-${at}`)
        : field.removeAttribute("aria-activedescendant");
      options.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    };
    show();
    if (!refusal("repositories:read")) {
      listed ??= all("/v1/repositories");
      listed.then((found) => {
        commands = [...commands, ...found.flatMap(({ name }) => /** @type {Command[]} */ ([
          { text: name, icon: "repo", run: () => go(`/repositories/${name}`) },
          { text: `Deploy ${name}`, icon: "rocket", run: () => go(`/repositories/${name}/deploy`) },
        ]))];
        show();
      }, () => (listed = undefined));
    }
    return h("div", { class: "palette" }, field, options);
  });
}

/** Shows the shortcuts, and the switch for those of a single key. */
export function help() {
  if (document.querySelector("dialog[open]")) return;
  /** @type {[string, string][]} */
  const keys = [["Ctrl K, ⌘ K", "Search and go anywhere"], ["?", "This help"], ["/", "Search on this screen"],
    ...Object.entries(PLACES).map(([key, [, name]]) => /** @type {[string, string]} */ ([`g ${key}`, name])),
    ["Enter, Shift Enter", "Next and previous match in a log"], ["Esc", "Close a dialog"]];
  dialog("Help", () => [
    h("p", null, h("a", { href: "/docs" }, "Documentation"), " · ",
      h("a", { href: "/v1/openapi.json" }, "OpenAPI document")),
    h("dl", { class: "keys" },
      keys.map(([key, what]) =>
        h("div", null, h("dt", null, key.split(", ").map((one) => h("kbd", null, one))), h("dd", null, what)))),
    h("label", { class: "check" },
      h("input", { type: "checkbox", checked: !localStorage.getItem(OFF),
          onchange: (/** @type {Event} */ event) =>
          (/** @type {HTMLInputElement} */ (event.target).checked ? localStorage.removeItem(OFF)
            : localStorage.setItem(OFF, "1")) }), "Shortcuts of a single key"),
  ]);
}

/** Listens for the shortcuts. */
export function shortcuts() {
  let after = 0;
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      return palette();
    }
    const typing = event.target instanceof Element
      && event.target.closest("input, select, textarea, dialog, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || localStorage.getItem(OFF)) return;
    const place = Date.now() - after < 1500 ? PLACES[event.key] : undefined;
    after = event.key === "g" ? Date.now() : 0;
    if (place) go(place[0]);
    else if (event.key === "?") help();
    else if (event.key === "/") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.querySelector("main [data-search]"))?.focus();
    }
  });
}
