// The repositories of the account.

import { all, change, page } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, choices, field, input, select } from "./form.js";
import { go } from "./route.js";
import { refusal } from "./session.js";
import { badge, button, dots, empty, failure, heading, loading, row, time } from "./ui.js";

/**
 * Shows all repositories, with a search over their names.
 * @param {View} screen
 */
export function repositories({ signal, query }) {
  /** @type {Repository[]} */
  const items = [];
  /** @type {string | null} */
  let next = "/v1/repositories?per_page=100&sort=name&direction=asc";
  const place = h("div", { class: "place" }, loading());
  const search = h("input",
    { type: "search", placeholder: "Search by name", "aria-label": "Search repositories", value: query.get("q"),
      autocomplete: "off", "data-search": true, oninput: () => show() });
  const add = () => button("Add repository", addRepository,
    { kind: "primary", icon: "plus", reason: refusal("repositories:write", "admin") });

  const more = async () => {
    if (!next) return;
    const read = await page(next, signal);
    items.push(...read.items);
    next = read.next;
  };
  const show = async () => {
    const wanted = search.value.trim().toLowerCase();
    // A search covers the pages that have not been shown yet, too.
    while (wanted && next) await more();
    if (wanted !== search.value.trim().toLowerCase()) return;
    const found = items.filter(({ full_name: name }) => name.toLowerCase().includes(wanted));
    place.replaceChildren(
      found.length ? h("ul", { class: "rows", "aria-label": "Repositories" }, found.map(repositoryRow))
        : wanted ? empty("search", "No repository has this name", `${items.length} repositories were searched.`,
          button("Clear the search", () => ((search.value = ""), show())))
        : empty("repo", "No repositories yet",
          "Add a git repository that has a buildspec.yml, then deploy one of its branches.", add()),
      next ? h("nav", { class: "pages", "aria-label": "More repositories" }, button("Show more", () => start())) : "");
  };
  const start = () => more().then(show, (error) => signal.aborted || place.replaceChildren(failure(error, start)));
  start();
  return [heading("Repositories", add()), h("div", { class: "filters" }, search), place];
}

/** @param {Repository} one */
const repositoryRow = (one) => row(one.id, h("a", { href: `/repositories/${one.name}` }, typed(one.name)),
  dots(one.default_branch && typed(one.default_branch), h("span", { class: "clip" }, typed(one.clone_url)),
    ["Added ", time(one.created_at)]),
  null, one.visibility === "private" ? badge("idle", "lock", "Private") : badge("idle", "team", "Public"));

/** Returns the account's connections, or null if the caller may not see them. @returns {Promise<Connection[] | null>} */
export const listConnections = async () =>
  refusal("repositories:read", "admin") ? null : all("/v1/connections").catch(() => null);

/**
 * Creates the choice of a connection, if the caller may see the connections.
 * @param {Connection[] | null} listed
 * @param {string | null} [chosen]
 */
export const connectionChoice = (listed, chosen) => listed && field("Connection", select("connection_id",
    [["", "None: everybody may read the repository"],
      ...listed.map(({ id, name, host }) => /** @type {[string, string]} */ ([id, `${name} (${host})`]))], chosen ?? ""),
  ["A private repository needs a ", h("a", { href: "/settings/connections" }, "connection"), " to its host."]);

/** Creates the choice of who sees a repository. */
export const visibilityChoice = (chosen = "private") => choices("Visibility", "radio", "visibility", [
  { value: "private", text: "Private", hint: "Members with a permission on it see it." },
  { value: "public", text: "Public", hint: "Every member of the account can read it." },
], [chosen]);

/** Asks for a repository and adds it. */
export async function addRepository() {
  const listed = await listConnections();
  const added = await ask("Add a repository", [
    field("Clone URL", input("clone_url",
        { required: true, type: "url", placeholder: "https://git.example.com/acme/web.git" }),
      "The git host is contacted at once."),
    field("Name", input("name", { required: true, maxlength: 100 }), "Letters, digits, dots, hyphens and underscores."),
    connectionChoice(listed),
    field("Default branch", input("default_branch"), "Leave it empty to use the host’s."),
    visibilityChoice(),
  ], "Add repository", (values) => change("POST", "/v1/repositories", {
    clone_url: values.get("clone_url"), name: values.get("name"), default_branch: values.get("default_branch") || null,
      visibility: values.get("visibility"), connection_id: values.get("connection_id") || null,
  }));
  if (added) go(`/repositories/${added.name}`);
}
