// A list of items in a form, which are added, edited, moved and removed.

import { h } from "./dom.js";
import { button, spoken } from "./ui.js";

/**
 * Creates the list, and returns it with a function that reads the items and one that shows others.
 * @template T
 * @param {string} name the field of the body that has the items
 * @param {string} noun what an item is called
 * @param {T[]} first
 * @param {() => T} blank creates the item that is added
 * @param {Children} hint
 * @param {(item: T, name: (part: string) => string) => {read: () => T, fields: Children}} line creates the fields of an item, and
 * what reads them
 */
export function itemEditor(name, noun, first, blank, hint, line) {
  const place = h("div", { class: "rules" });
  /** Each reads an item with what has been typed. @type {(() => T)[]} */
  let readers = [];
  const read = () => readers.map((one) => one());
  const label = (/** @type {number} */ at, by = 0) =>
    (by ? `Move ${noun} ${at + 1} ${by < 0 ? "up" : "down"}` : `Remove ${noun} ${at + 1}`);
  /** @param {T[]} items @param {string} [focus] the button that gets the focus */
  const show = (items, focus) => {
    const lines = items.map((item, at) => line(item, (part) => `${name}[${at}].${part}`));
    const mover = (/** @type {number} */ at, /** @type {number} */ by, /** @type {string | null} */ reason) => button([], () => {
      const moved = read();
      moved.splice(at + by, 0, ...moved.splice(at, 1));
      show(moved, label(at + by, by));
    }, { kind: "plain", icon: "chevron", label: label(at, by), reason });
    readers = lines.map((one) => one.read);
    place.replaceChildren(...lines.map(({ fields }, at) =>
        h("div", { class: "rule", role: "group", "aria-label": `${spoken(noun)} ${at + 1}` }, fields, h("div", { class: "actions" },
          mover(at, -1, at ? null : `This is the first ${noun}.`),
          mover(at, 1, at < items.length - 1 ? null : `This is the last ${noun}.`),
          button([], () => show(read().filter((_, other) => other !== at), label(at)),
            { kind: "plain", icon: "cross", label: label(at) })))));
    if (focus) /** @type {HTMLElement} */ (place.querySelector(`[aria-label="${focus}"]`) ?? add).focus();
  };
  const add = button(`Add ${noun}`, () => {
    show([...read(), blank()]);
    place.lastElementChild?.querySelector("input")?.focus();
  }, { icon: "plus" });
  show(first);
  return { read, show, element: h("fieldset", { class: "field", "data-field": name, "aria-label": spoken(name) },
      h("div", { class: "hint" }, hint), place, add, h("div", { class: "error" })) };
}

/**
 * Returns the globs in a field, which spaces separate. Globs that nobody edits stay as they are, also those with a space.
 * @param {HTMLInputElement} control
 * @param {string[]} before
 */
export const globs = ({ value }, before) => (value === before.join(" ") ? before : value.split(/\s+/).filter(Boolean));
