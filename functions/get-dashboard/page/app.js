// The shell around the screens: the navigation, the router, and what happens when a call can't go on by itself.

import { account } from "./account.js";
import { ApiError, hooks } from "./api.js";
import { applications } from "./applications.js";
import { audit } from "./audit.js";
import { connections } from "./connections.js";
import { deploy } from "./deploy.js";
import { deployment } from "./deployment.js";
import { deployments } from "./deployments.js";
import { h, icon, typed } from "./dom.js";
import { environment } from "./environment.js";
import { dialog, select } from "./form.js";
import { repositoryHooks } from "./hooks.js";
import { join } from "./join.js";
import { members } from "./members.js";
import { overview } from "./overview.js";
import { help, palette, shortcuts } from "./palette.js";
import { repositories } from "./repositories.js";
import { repository } from "./repository.js";
import { repositorySettings } from "./repository-settings.js";
import { go } from "./route.js";
import { load, me, signOut } from "./session.js";
import { sessions } from "./sessions.js";
import { methods, onSignIn, remember, signIn } from "./sign-in.js";
import { team, teams } from "./teams.js";
import { newToken, tokens } from "./tokens.js";
import { trusts } from "./trusts.js";
import { empty, failure, heading, loading, say } from "./ui.js";
import { accountVariables } from "./variables.js";
import { webhooks } from "./webhooks.js";

/** @typedef {(view: View) => Children} Show */

/** The screens by path: the name in the title, and the screen. @type {[string, string, Show][]} */
const ROUTES = [
  ["/", "Overview", overview],
  ["/repositories", "Repositories", repositories],
  ["/repositories/:name", "Repository", repository],
  ["/repositories/:name/deploy", "Deploy", deploy],
  ["/repositories/:name/settings", "Settings", repositorySettings],
  ["/repositories/:name/hooks", "Hooks", repositoryHooks],
  ["/repositories/:name/environments/:environment", "Environment", environment],
  ["/deployments", "Deployments", deployments],
  ["/deployments/:id", "Deployment", deployment],
  ["/audit", "Audit log", audit],
  ["/settings", "Account and limits", account],
  ["/settings/account", "Account and limits", account],
  ["/settings/members", "Members", members],
  ["/settings/connections", "Connections", connections],
  ["/settings/variables", "Variables", accountVariables],
  ["/settings/webhooks", "Webhooks", webhooks],
  ["/settings/teams", "Teams", teams],
  ["/settings/teams/:id", "Team", team],
  ["/settings/sessions", "Sessions", sessions],
  ["/settings/api/tokens", "Tokens", tokens],
  ["/settings/api/tokens/new", "New token", newToken],
  ["/settings/api/applications", "Applications", applications],
  ["/settings/api/trusts", "Trusts", trusts],
];
/** The screens for people who are not signed in. @type {Record<string, [string, Show]>} */
const OPEN = { "/sign-in": ["Sign in", signIn], "/join": ["Join", join] };

/** @typedef {[string, string, IconName]} Link */
/** @type {Link[]} */
const MAIN = [["/", "Overview", "home"], ["/repositories", "Repositories", "repo"],
  ["/deployments", "Deployments", "rocket"], ["/audit", "Audit log", "audit"]];
/** @type {[string, Link[]][]} */
const SETTINGS = [
  ["API", [["/settings/api/tokens", "Tokens", "key"], ["/settings/api/applications", "Applications", "app"],
      ["/settings/api/trusts", "Trusts", "shield"]]],
  ["Account", [["/settings/account", "Account", "settings"], ["/settings/members", "Members", "person"],
      ["/settings/connections", "Connections", "link"], ["/settings/variables", "Variables", "key"],
      ["/settings/webhooks", "Webhooks", "run"], ["/settings/teams", "Teams", "team"]]],
  ["You", [["/settings/sessions", "Sessions", "lock"]]],
];

const notice = h("div", { class: "notice", role: "status", hidden: true });
const main = h("main", { id: "main", tabindex: "-1" });
const side = h("aside", { class: "side", id: "side", "aria-label": "Navigation and account" });
const toggle = h("button",
  { type: "button", class: "button plain toggle", "aria-expanded": "false", "aria-controls": "side",
    onclick: () => open(toggle.getAttribute("aria-expanded") !== "true") }, icon("menu"), "Menu");
const open = (/** @type {boolean} */ on) => {
  toggle.setAttribute("aria-expanded", `${on}`);
  side.classList.toggle("open", on);
};
let turn = new AbortController();
let signedIn = false;

/** Shows the navigation of somebody who is signed in. */
function navigation() {
  const link = (/** @type {Link} */ [path, name, symbol]) =>
    h("a", { href: path, "aria-current": here(path) ? "page" : null }, icon(symbol), name);
  const settings = location.pathname.startsWith("/settings");
  const theme = select("theme", [["", "System colors"], ["light", "Light"], ["dark", "Dark"]],
    document.documentElement.dataset.theme ?? "", { "aria-label": "Colors", onchange: () => setTheme(theme.value) });
  side.replaceChildren(
    h("button", { type: "button", class: "button search", onclick: palette }, icon("search"), "Go to…",
      h("kbd", null, /Mac|iP/.test(navigator.platform) ? "⌘ K" : "Ctrl K")),
    h("nav", { "aria-label": "Main" }, MAIN.map(link),
      h("a", { href: "/settings/account", class: "group", "aria-expanded": null,
          "aria-current": settings ? "true" : null }, icon("settings"), "Settings"),
      settings && SETTINGS.map(([name, links]) =>
        h("div", { class: "sub", role: "group", "aria-label": name }, h("p", { "aria-hidden": "true" }, name),
          links.map(link)))),
    h("div", { class: "who" }, h("p", { class: "strong" }, typed(me().account.slug)),
      h("p", { class: "muted" }, typed(me().user?.email ?? me().application?.name ?? "")), theme,
      h("div", { class: "actions" }, h("button", { type: "button", class: "button plain", onclick: help }, "Help"),
        h("button", { type: "button", class: "button plain", onclick: async () => {
        await signOut();
        signedIn = false;
        go("/sign-in");
      } }, "Sign out"))));
}

/** @param {string} path */
const here = (path) => (path === "/" ? location.pathname === "/" : location.pathname === path
  || location.pathname.startsWith(`${path}/`) || (path === "/settings/account" && location.pathname === "/settings"));

/** @param {string} name */
function setTheme(name) {
  name ? localStorage.setItem("theme", name) : localStorage.removeItem("theme");
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

/** Opens the screen of the address. @param {boolean} [first] */
async function show(first) {
  turn.abort();
  turn = new AbortController();
  const { signal } = turn;
  open(false);
  /** @type {View} */
  const screen = { params: {}, query: new URLSearchParams(location.search), signal };
  const path = location.pathname.replace(/(.)\/$/, "$1");
  const outside = OPEN[path];
  document.body.classList.toggle("outside", Boolean(outside));
  if (outside) {
    signedIn = false;
    document.title = `${outside[0]} · .git`;
    return put(outside[1](screen), first);
  }
  if (!signedIn) {
    main.replaceChildren(loading());
    try {
      await load(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.code === "not_linked") return go("/join", { replace: true });
      if (error instanceof ApiError && error.status === 401) return;
      return main.replaceChildren(failure(error, show));
    }
    signedIn = true;
  }
  navigation();
  for (const [pattern, title, screenOf] of ROUTES) {
    const found = path.match(new RegExp(`^${pattern.replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`));
    if (!found) continue;
    screen.params = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, value]) =>
        [name, decodeURIComponent(value)]));
    document.title = `${title} · .git`;
    return put(screenOf(screen), first);
  }
  document.title = "Not found · .git";
  put([heading("Not found"),
      empty("search", "There is no such page", "The address may be mistyped.",
        h("a", { class: "button", href: "/" }, "Open the overview"))], first);
}

/**
 * Shows the content of a screen, and moves the focus to its heading.
 * @param {Children} content
 * @param {boolean} [first]
 */
function put(content, first) {
  main.replaceChildren(h("div", { class: "screen" }, content));
  if (first) return;
  scrollTo(0, 0);
  const title = main.querySelector("h1");
  (title ?? main).focus({ preventScroll: true });
}

hooks.notice = (text) => {
  notice.hidden = !text;
  if (notice.textContent !== text) notice.textContent = text;
};
hooks.signedOut = () => {
  signedIn = false;
  if (OPEN[location.pathname]) return;
  remember(location.pathname + location.search + location.hash);
  go("/sign-in", { replace: true });
};
/** @type {Promise<boolean> | undefined} */
let asking;
hooks.signInAgain = () => (asking ??= renew().finally(() => (asking = undefined)));

/** Asks for a new sign-in over the screen, which keeps what it has. */
async function renew() {
  const stop = new AbortController();
  const done = await dialog("Sign in again", (close) => {
    onSignIn(stop.signal, () => close(true));
    return [h("p", null, "You signed in more than 15 minutes ago. This change needs a fresh sign-in; it is then made at once."),
      methods(() => close(true), true)];
  });
  stop.abort();
  // The new session may be somebody else's, or have other scopes.
  if (done) await load().then(navigation, () => {});
  return Boolean(done);
}

// A link to another screen opens it without loading the page again.
addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest("a");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey
    || event.altKey || link.target || link.download) return;
  const { origin, pathname, search, hash } = link;
  if (origin !== location.origin || /^\/(docs|v1|assets)(\/|$)/.test(pathname)
    || (hash && pathname === location.pathname)) return;
  event.preventDefault();
  document.querySelector("dialog[open]")?.remove();
  go(pathname + search + hash);
});
addEventListener("popstate", (event) => {
  // A change of the fragment alone is no other screen.
  if (event.state !== "go" && location.hash && main.dataset.path === location.pathname
    && !OPEN[location.pathname]) return;
  main.dataset.path = location.pathname;
  show();
});

// A failure that no form and no list shows is said.
addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof ApiError) say(event.reason.message);
  if (event.reason instanceof ApiError || event.reason?.name === "AbortError") event.preventDefault();
});

setTheme(localStorage.getItem("theme") ?? "");
document.body.append(
  h("a", { class: "skip", href: "#main" }, "Skip to the content"),
  h("header", { class: "top" }, h("a", { class: "brand", href: "/" }, icon("branch"), ".git"), toggle),
  side, notice, main);
main.dataset.path = location.pathname;
shortcuts();
show(true);
