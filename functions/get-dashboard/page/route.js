// Goes from screen to screen without loading the page again.

/** Opens a path of the dashboard.
 * @param {string} path
 * @param {{replace?: boolean}} [options] */
export function go(path, { replace } = {}) {
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate", { state: "go" }));
}

/** Changes the query of the current screen without opening it again.
 * @param {Record<string, string | null>} changes */
export function setQuery(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) value ? url.searchParams.set(name, value)
    : url.searchParams.delete(name);
  history.replaceState(null, "", url);
}
