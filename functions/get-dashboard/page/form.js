// Forms and dialogs.

import { ApiError, change, page } from "./api.js";
import { h, typed } from "./dom.js";
import { setQuery } from "./route.js";
import { button, copyable, request, say } from "./ui.js";

let fields = 0;
let dialogs = 0;

/**
 * Creates a labelled field with a hint and a place for its error.
 * @param {string} label
 * @param {HTMLElement} control an input, a select or a textarea with a name
 * @param {Children} [hint]
 */
export function field(label, control, hint) {
  const id = (control.id ||= `field-${++fields}`);
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  return h("div", { class: "field" }, h("label", { for: id }, label),
    hint && h("div", { class: "hint", id: `${id}-hint` }, hint), control,
    h("div", { class: "error", id: `${id}-error` }));
}

/**
 * Creates a text input.
 * @param {string} name
 * @param {Record<string, unknown>} [more]
 */
export const input = (name, more) =>
  h("input", { name, type: "text", autocomplete: "off", spellcheck: "false", ...more });

/**
 * Offers the branches and tags of a repository in an input. All are read when it gets the focus; if they are more than a page,
 * those that start with what is typed. Returns the element that holds them.
 * @param {HTMLInputElement} control
 * @param {string} path the repository's
 * @param {AbortSignal} signal
 * @param {string} [type]
 */
export function offerRefs(control, path, signal, type = "") {
  const options = h("datalist", { id: `refs-${++fields}` });
  control.setAttribute("list", options.id);
  let [more, timer] = [true, 0];
  const read = async (prefix = "") => {
    const query = new URLSearchParams({ per_page: "100", ...(type && { type }), ...(prefix && { prefix }) });
    const { items, next } = await page(`${path}/refs?${query}`, signal).catch(() => ({ items: [], next: "" }));
    if (prefix && prefix !== control.value) return;
    more = Boolean(prefix || next);
    options.replaceChildren(...items.map(({ name }) => h("option", { value: name })));
  };
  control.addEventListener("focus", () => read(), { once: true });
  control.addEventListener("input", () => {
    clearTimeout(timer);
    if (more) timer = setTimeout(read, 600, control.value);
  });
  return options;
}

/**
 * Creates a select.
 * @param {string} name
 * @param {[string, string][]} options values and texts
 * @param {string} [chosen]
 * @param {Record<string, unknown>} [more]
 */
export const select = (name, options, chosen, more) =>
  h("select", { name, ...more },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));

/**
 * Labels a checkbox or a radio button.
 * @param {HTMLInputElement} control
 * @param {Children} text
 * @param {Children} [hint]
 */
export const choice = (control, text, hint) => h("label", { class: control.disabled ? "choice off" : "choice" }, control,
  h("span", null, text, hint && h("small", null, hint)));

/**
 * Creates a group of checkboxes or radio buttons.
 * @param {string} legend
 * @param {"checkbox" | "radio"} type
 * @param {string} name
 * @param {{value: string, text: Children, hint?: Children, reason?: string | null}[]} options
 * @param {string[]} chosen
 * @param {Children} [hint]
 */
export function choices(legend, type, name, options, chosen, hint) {
  return h("fieldset", { class: "field", "data-field": name }, h("legend", null, legend),
    hint && h("div", { class: "hint" }, hint),
    h("div", { class: "choices" }, options.map(({ value, text, hint: about, reason }) =>
      choice(h("input", { type, name, value, checked: chosen.includes(value) && !reason, disabled: Boolean(reason) }),
        text, reason ?? about))),
    h("div", { class: "error" }));
}

/**
 * Shows an error of a form: at the fields it names, and the rest above them.
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
export function showError(form, error) {
  clearErrors(form);
  const { message, requestId, details = [] } = /** @type {ApiError} */ (error);
  const rest = details.filter((detail) => !showAt(form, detail.field, detail.message));
  const place = /** @type {HTMLElement} */ (form.querySelector(".problem"));
  place.replaceChildren(h("p", null, typed(details.length && !rest.length ? "Correct the marked fields." : message)),
    ...rest.map((detail) => h("p", null, h("code", null, detail.field), " ", typed(detail.message))),
      request(requestId) || "");
  place.hidden = false;
  /** @type {HTMLElement} */ (form.querySelector("[aria-invalid]") ?? place).focus();
}

/**
 * Marks a field. A path belongs to the field that has the longest part of it, so `scopes[0]` to `scopes` if there is no other.
 * @param {HTMLFormElement} form
 * @param {string} path
 * @param {string} message
 */
function showAt(form, path, message) {
  for (let name = path; name; name = name.replace(/[.[]?[^.[]*$/, "")) {
    const control = form.querySelector(`[name="${CSS.escape(name)}"], fieldset[data-field="${CSS.escape(name)}"]`);
    const place = control?.closest(".field")?.querySelector(".error");
    if (!control || !place) continue;
    control.setAttribute("aria-invalid", "true");
    place.textContent = message;
    return true;
  }
  return false;
}

/**
 * Changes those fields of a resource whose values differ. Returns the resource, or nothing if no value differs.
 * @param {string} path
 * @param {Record<string, unknown>} before
 * @param {Record<string, unknown>} now a field that is undefined stays as it is
 */
export async function changes(path, before, now) {
  const changed = Object.entries(now).filter(([name, value]) =>
      value !== undefined && JSON.stringify(value) !== JSON.stringify(before[name] ?? null));
  if (changed.length) return change("PATCH", path, Object.fromEntries(changed));
  say("Nothing has changed.");
}

/** Returns the error of a field that the page itself refuses. @param {string} name @param {string} message */
export const invalid = (name, message) => new ApiError(0, "invalid", message, "", [{ field: name, message }]);

/** @param {HTMLFormElement} form */
export function clearErrors(form) {
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".error")) place.textContent = "";
  /** @type {HTMLElement} */ (form.querySelector(".problem")).hidden = true;
}

/**
 * Creates a form. While it is being sent it can't be sent a second time.
 * @param {Children} content
 * @param {string} submit the text of its button
 * @param {(values: FormData, form: HTMLFormElement) => Promise<unknown>} send
 * @param {{reason?: string | null, kind?: string, cancel?: () => void}} [options]
 */
export function form(content, submit, send, { reason, kind = "primary", cancel } = {}) {
  const send_ = h("button",
    { class: `button ${kind}`, "aria-disabled": reason ? "true" : null, "aria-description": reason }, submit);
  const element = h("form", { novalidate: true, onsubmit: async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (send_.getAttribute("aria-disabled") === "true") return;
    send_.setAttribute("aria-disabled", "true");
    send_.classList.add("busy");
    clearErrors(element);
    try {
      await send(new FormData(element), element);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      showError(element, error);
    } finally {
      send_.removeAttribute("aria-disabled");
      send_.classList.remove("busy");
    }
  } }, h("div", { class: "problem", role: "alert", tabindex: "-1", hidden: true }), content,
    h("div", { class: "buttons" }, send_, cancel && button("Cancel", cancel),
      reason && h("p", { class: "hint" }, reason)));
  return element;
}

/**
 * Opens a dialog and returns what it is closed with.
 * @template T
 * @param {Children} title
 * @param {(close: (value?: T) => void) => Children} content
 * @returns {Promise<T | undefined>}
 */
export function dialog(title, content) {
  return new Promise((resolve) => {
    /** @type {T | undefined} */
    let result;
    const close = (/** @type {T} */ value = /** @type {any} */ (undefined)) => {
      result = value;
      element.close();
    };
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const id = `dialog-${++dialogs}`;
    const element = h("dialog", { "aria-labelledby": id, onclose: () => {
      element.remove();
      before?.focus();
      resolve(result);
    } }, h("header", null, h("h2", { id }, title),
      button([], () => close(), { kind: "plain", icon: "cross", label: "Close" })),
      content(close));
    document.body.append(element);
    element.showModal();
    /** @type {HTMLElement | null} */ (element.querySelector("[autofocus], input, select, textarea, form button"))?.focus();
  });
}

/**
 * Opens a form in a dialog, which shows why sending it failed. Returns what sending it returned, or nothing after a cancel.
 * @param {string} title
 * @param {Children} content
 * @param {string} submit
 * @param {(values: FormData) => Promise<any>} send
 * @param {boolean} [danger]
 */
export const ask = (title, content, submit, send, danger) =>
  dialog(title, (close) =>
    form(h("div", { class: "fields" }, content), submit, async (values) => close((await send(values)) ?? true),
      { kind: danger ? "danger" : "primary", cancel: () => close() }));

/**
 * Creates a search over a list, which stays in the address.
 * @param {URLSearchParams} query
 * @param {string} name the parameter of the list
 * @param {string} label
 * @param {() => void} changed
 */
export const search = (query, name, label, changed) =>
  h("input", { type: "search", placeholder: label, "aria-label": label, value: query.get(name) ?? "", autocomplete: "off",
    onchange: narrow(query, name, changed) });

/**
 * Creates a choice of a list's parameter, which stays in the address.
 * @param {URLSearchParams} query
 * @param {string} name the parameter of the list
 * @param {string} label
 * @param {[string, string][]} options values and texts
 * @param {() => void} changed
 */
export const filter = (query, name, label, options, changed) =>
  select(name, options, query.get(name) ?? "", { "aria-label": label, onchange: narrow(query, name, changed) });

/** Returns what a choice of on, off and neither says. @param {FormData} values @param {string} name */
export const isOn = (values, name) => values.get(name) ? values.get(name) === "true" : null;

/** Keeps a parameter of a list in the address. @param {URLSearchParams} query @param {string} name @param {() => void} changed */
export const narrow = (query, name, changed) => (/** @type {Event} */ event) => {
  const { type, checked, value: typed } = /** @type {HTMLInputElement} */ (event.target);
  const value = type === "checkbox" && !checked ? "" : typed;
  value ? query.set(name, value) : query.delete(name);
  setQuery({ [name]: value });
  changed();
};

/**
 * Creates a button that asks whether to delete something, deletes it, and says that it is gone.
 * @param {string} verb
 * @param {string} what
 * @param {string} text what follows from it
 * @param {string} path
 * @param {() => void} done
 * @param {string | null} reason why it may not be deleted
 * @param {(answer: any) => void} [told]
 */
export const remover = (verb, what, text, path, done, reason, told) => button(verb, async () => {
  if (await ask(`${verb} ${what}?`, h("p", null, text), verb, async () => {
    const answer = await change("DELETE", path);
    told?.(answer);
  }, true)) {
    say(`${verb}${verb.endsWith("e") ? "d" : "ed"} ${what}.`);
    done();
  }
}, { kind: "danger", reason, label: `${verb} ${what}` });

/**
 * Shows a secret once, with a request that proves that it works.
 * @param {string} title
 * @param {Children} text
 * @param {string} secret
 * @param {Children} [more]
 */
export const once = (title, text, secret, more) =>
  dialog(title, (close) =>
    [h("p", null, text), h("div", { class: "secret" }, copyable(secret, "the secret")), more,
      h("div", { class: "buttons" }, button("Done", () => close(), { kind: "primary" }))]);
