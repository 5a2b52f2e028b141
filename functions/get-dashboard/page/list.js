// Lists and screens that load, with all their states.

import { follow, page } from "./api.js";
import { h, morph } from "./dom.js";
import { button, empty, failure, heading, loading } from "./ui.js";

/**
 * Shows what a load returns: first that it loads, then the result, or why there is none.
 * @template T
 * @param {View} screen
 * @param {() => Promise<T>} load
 * @param {(value: T, reload: () => Promise<void>) => Children} render
 * @param {number} [rows] the rows that the placeholder has
 */
export function loaded(screen, load, render, rows) {
  const place = h("div", { class: "place" }, loading(rows));
  const reload = async () => {
    try {
      place.replaceChildren(h("div", null, render(await load(), reload)));
    } catch (error) {
      if (!screen.signal.aborted) place.replaceChildren(failure(error,
          () => (place.replaceChildren(loading(rows)), void reload())));
    }
  };
  reload();
  return place;
}

/**
 * Shows a resource and follows it while the screen is open.
 * @param {View} screen
 * @param {() => string} path
 * @param {(body: any, reload: () => void) => Children} render
 * @param {(body: any) => number} [seconds] the time until the next request, or 0 to end
 * @param {number} [rows]
 */
export function live(screen, path, render, seconds, rows) {
  const place = h("div", { class: "place" }, loading(rows));
  let turn = new AbortController();
  let draw = () => {};
  const start = async () => {
    turn.abort();
    turn = new AbortController();
    const signal = AbortSignal.any([screen.signal, turn.signal]);
    try {
      await follow(path, (body) => {
        draw = () => morph(place, h("div", { class: "place" }, render(body, start)));
        draw();
        return seconds?.(body);
      }, signal);
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(failure(error,
          () => (place.replaceChildren(loading(rows)), void start())));
    }
  };
  start();
  return Object.assign(place, { redraw: () => draw() });
}

/**
 * Shows a list page by page.
 * @template T
 * @param {View} screen
 * @param {object} options
 * @param {() => string} options.path the path of the first page
 * @param {(item: T, actors: Actors, reload: () => void) => Node} options.row
 * @param {() => Node} options.none what stands there if the list is empty
 * @param {string} options.label
 * @param {() => Promise<Actors>} [options.names] reads the names of a list that has ids alone
 */
export function list(screen, { path, row, none, label, names }) {
  let at = path();
  const place = h("div", { class: "place" });
  /** @param {Page<T>} value @param {(to: string) => void} go */
  const pages = ({ items, total, next, previous }, go) =>
    (next || previous) && h("nav", { class: "pages", "aria-label": `Pages: ${label}` },
      button("Previous", () => previous && go(previous), { reason: previous ? null : "This is the first page." }),
      h("span", { class: "muted" }, total === null ? `${items.length} shown` : `${items.length} of ${total}`),
      button("Next", () => next && go(next), { reason: next ? null : "This is the last page." }));
  const load = async () => {
    try {
      const [value, actors] = await Promise.all([page(at, screen.signal), names?.()]);
      const shown = value.items.length
        ? h("ul", { class: "rows", "aria-label": label }, value.items.map((item) => row(item, actors ?? value.actors, load)))
        : none();
      morph(place, h("div", { class: "place" }, shown, pages(value, (to) => ((at = to), load()))));
    } catch (error) {
      if (!screen.signal.aborted) place.replaceChildren(failure(error, start));
    }
  };
  const start = () => {
    at = path();
    place.replaceChildren(loading());
    load();
  };
  start();
  return Object.assign(place, { reload: load, restart: start });
}

/**
 * Creates a screen that is a list with a button that adds to it.
 * @template T
 * @param {View} screen
 * @param {object} options
 * @param {string} options.title
 * @param {Children} [options.under] what stands below the title
 * @param {Children} options.intro
 * @param {string} options.path the path of the first page
 * @param {[IconName, string, Children]} options.none the icon, the title and the text if the list is empty
 * @param {[string, () => Promise<unknown>, string | null]} options.add the text of the button, what it does, and why it may not
 * @param {(item: T, actors: Actors, reload: () => void) => Node} options.row
 * @param {() => Promise<Actors>} [options.names] reads the names of a list that has ids alone
 */
export function settingsList(screen, { title, under, intro, path, none, add: [text, run, reason], row, names }) {
  /** @returns {HTMLElement} */
  const create = () => button(text, () => run().then(shown.reload), { kind: "primary", icon: "plus", reason });
  const shown = list(screen, { label: title, path: () => path, none: () => empty(...none, create()), row, names });
  return [heading(title, create(), under), h("p", { class: "intro" }, intro), shown];
}

/**
 * Returns a query with the parameters that a list takes.
 * @param {URLSearchParams} query
 * @param {string[]} names
 */
export const picked = (query, names) =>
  [...query].filter(([name, value]) => names.includes(name) && value).map(([name, value]) =>
  `&${name}=${encodeURIComponent(value)}`).join("");
