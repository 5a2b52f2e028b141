// Builds and updates elements. A text is always a text node, so no text becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** The strokes of each icon on a grid of 16 by 16. */
export const ICONS = {
  app: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z",
  audit: "M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.5M2 8h.5M2 12h.5",
  back: "M3 3v4h4M3.4 6.7A5.3 5.3 0 1 1 3 10",
  branch: "M4.5 5.5v5M4.5 5.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM4.5 14.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM11.5 6.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM11.5 6.5c0 3-7 1.5-7 4.5",
  check: "M2.5 8.5l3.5 3.5 7.5-8",
  chevron: "M6 3.5L10.5 8 6 12.5",
  clock: "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5zM8 4.5V8l2.5 1.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  cross: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  down: "M8 2v8.5M4.5 7L8 10.5 11.5 7M3 13.5h10",
  home: "M2 7.5L8 2l6 5.5M3.5 6.5v7.5h9V6.5M6.5 14v-4h3v4",
  key: "M5 14a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM7.2 8.8L13.5 2.5M11 5l2 2",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5L7.5 13A3 3 0 0 1 3 8.5L4.5 7",
  lock: "M3.5 7.5h9v6.5h-9zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
  menu: "M2 4h12M2 8h12M2 12h12",
  person: "M8 7.5a2.75 2.75 0 1 0 0-5.5 2.75 2.75 0 0 0 0 5.5zM2.5 14c.6-2.8 2.8-4.2 5.5-4.2s4.9 1.4 5.5 4.2",
  plus: "M8 3v10M3 8h10",
  repo: "M12.5 11H5a1.5 1.5 0 0 0 0 3.25h7.5V1.75H5A1.5 1.5 0 0 0 3.5 3.25V12.5",
  rocket: "M8 13.5V3M3.5 7.5L8 3l4.5 4.5",
  run: "M8 1.75a6.25 6.25 0 1 1-6.25 6.25",
  search: "M7 2a5 5 0 1 0 0 10A5 5 0 0 0 7 2zM10.6 10.6L14 14",
  settings: "M2 5h6M12 5h2M8 3v4h4V3zM2 11h2M8 11h6M4 9v4h4V9z",
  skip: "M3 3.5L9 8l-6 4.5zM12.5 3.5v9",
  slash: "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5zM3.6 12.4l8.8-8.8",
  snow: "M8 1.5v13M2.4 4.75l11.2 6.5M13.6 4.75l-11.2 6.5",
  shield: "M8 1.5l5.5 2v4c0 3.5-2.3 5.8-5.5 7-3.2-1.2-5.5-3.5-5.5-7v-4z",
  team: "M5.5 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1 13.5c.4-2.7 2.2-4 4.5-4s4.1 1.3 4.5 4M10.5 2.6a2.5 2.5 0 0 1 0 4.8M12 9.8c1.7.5 2.7 1.8 3 3.7",
  warn: "M8 2l6.5 12h-13zM8 6.5v3.5M8 12v.2",
};

/**
 * Creates an element. A property that is a function becomes a handler, any other an attribute.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown> | null} [properties]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (typeof value === "function") Object.assign(element, { [name]: value });
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name,
      value === true ? "" : `${value}`);
  }
  for (const child of /** @type {any[]} */ (/** @type {any} */ (children).flat(Infinity))) {
    if (child !== null && child !== undefined && child !== false && child !== "") {
      element.append(child instanceof Node ? child : `${child}`);
    }
  }
  return element;
}

/**
 * Creates an icon. It is decoration: a word stands beside it, or a label on its button.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: `icon ${name}`,
        "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Isolates a text that a person typed, so that its direction of writing does not reach the text around it.
 * @param {string | null | undefined} text
 */
export const typed = (text) => h("bdi", null, text);

/**
 * Stands for an element that keeps itself up to date, so that a new rendering around it neither moves nor changes it.
 * @param {HTMLElement} element a `div` with `data-key` and `data-kept`
 */
export const kept = (element) => (element.isConnected ? h("div", { "data-key": element.dataset.key }) : element);

/** The handlers that `morph` takes over. */
const HANDLERS = /** @type {const} */ (["onclick", "oninput", "onchange", "onsubmit", "onkeydown", "onclose"]);

/**
 * Changes an element into another in place, so that focus, scroll positions and typed text stay.
 * @param {Node} from
 * @param {Node} to
 */
export function morph(from, to) {
  if (from === to || from.isEqualNode(to) && !(from instanceof HTMLElement)) return;
  if (from.nodeName !== to.nodeName) return void (/** @type {ChildNode} */ (from).replaceWith(to));
  if (from instanceof CharacterData && to instanceof CharacterData) {
    if (from.data !== to.data) from.data = to.data;
  }
  if (!(from instanceof Element) || !(to instanceof Element) || from.hasAttribute("data-kept")) return;
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)
    && name !== "open") from.removeAttribute(name);
  if (from instanceof HTMLElement && to instanceof HTMLElement) {
    for (const name of HANDLERS) if (from[name] !== to[name]) from[name] = /** @type {any} */ (to[name]);
  }
  morphChildren(from, to);
}

/**
 * Gives an element the children of another. Those with `data-key` are matched by it, others by their place.
 * @param {Element} from
 * @param {Element} to
 */
function morphChildren(from, to) {
  const key = (/** @type {Node | null} */ node) => (node instanceof HTMLElement ? node.dataset.key : undefined);
  const keyed = new Map([...from.children].map((child) => [key(child), child]));
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const wanted = key(next);
    const found = wanted ? keyed.get(wanted) : at && !key(at) && at.nodeName === next.nodeName ? at : undefined;
    if (!found) {
      from.insertBefore(next, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else from.insertBefore(found, at);
    if (found !== next) morph(found, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}
