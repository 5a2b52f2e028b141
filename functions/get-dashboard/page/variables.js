// The variables that builds get: those of the account, of a repository and of an environment.

import { change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, choice, field, input, invalid, remover } from "./form.js";
import { live } from "./list.js";
import { nameOf, refusal } from "./session.js";
import { badge, button, dots, heading, row, say, section, time } from "./ui.js";

/**
 * Shows the variables of the account.
 * @param {View} screen
 */
export const accountVariables = (screen) => variableList(screen, "/v1/account/variables", refusal("account:write", "admin"),
  "Every build gets them. Those of a repository, an environment or a deployment override them.",
  (shown, add) => [heading("Variables", add), shown]);

/**
 * Shows the variables of a place. A change counts for deployments that are created after it.
 * @param {View} screen
 * @param {string} path
 * @param {string | null} reason why they may not be changed
 * @param {string} intro
 * @param {(shown: Children, add: Children) => Children} [frame] puts the list and the button that adds to it on the screen
 */
export const variableList = (screen, path, reason, intro, frame = (shown, add) => section("Variables", shown, add)) =>
  live(screen, () => path, (/** @type {{data: Variable[]}} */ { data }, reload) => frame([
    h("p", { class: "intro" }, intro, " ", h("a", { href: "/docs/variables" }, "About variables"), "."),
    data.length ? h("ul", { class: "rows", "aria-label": "Variables" }, data.map((one) =>
        row(one.name, h("code", null, one.name), dots(!one.secret && h("code", { class: "clip" }, typed(one.value || "Empty")),
          `Version ${one.version}`, ["Set ", time(one.updated_at), " by ",
            typed(nameOf(one.updated_by.id, { [`${one.updated_by.id}`]: one.updated_by }))]),
        [button("Replace", () => setVariable(path, one).then(reload), { reason, label: `Replace ${one.name}` }),
          remover("Delete", one.name, "Deployments that are created from now on don’t get it. Earlier ones keep it.",
            `${path}/${one.name}`, reload, reason)],
        one.secret ? badge("idle", "lock", "Secret") : badge("idle", "audit", "Plain"))))
      : h("p", { class: "none" }, "No variables are set here."),
  ], button("Add variable", () => addVariable(path, data).then(reload), { icon: "plus", reason })), () => 0, 2);

/**
 * Creates the fields of a value. That of a secret is empty.
 * @param {Variable} [one]
 */
const valueFields = (one) => [
  field("Value", h("textarea", { name: "value", rows: 3, spellcheck: "false", autocomplete: "off" }, one?.value)),
  h("div", { class: "field" }, choice(h("input", { type: "checkbox", name: "secret", checked: one?.secret ?? true }), "Secret",
      "It is encrypted, never shown again, and masked in logs."), h("div", { class: "error" })),
];

/** @param {string} path @param {FormData} values */
function setValue(path, values) {
  const secret = values.has("secret");
  // A form has the line ends of Windows.
  const value = `${values.get("value")}`.replaceAll("\r\n", "\n");
  if (secret && !value) throw invalid("value", "Enter a value.");
  return change("PUT", path, { value, secret });
}

/** @param {string} path @param {Variable[]} others */
async function addVariable(path, others) {
  const made = await ask("Add a variable",
    [field("Name", input("name", { required: true, maxlength: 128, placeholder: "API_URL" })), valueFields()], "Add variable",
    async (values) => {
      const name = `${values.get("name")}`.trim();
      if (!name) throw invalid("name", "Enter a name.");
      if (others.some((one) => one.name === name)) throw invalid("name", "There is a variable of this name. Replace its value.");
      return setValue(`${path}/${encodeURIComponent(name)}`, values);
    });
  if (made) say(`Added ${made.name}.`);
}

/** @param {string} path @param {Variable} one */
async function setVariable(path, one) {
  const saved = await ask(`Replace ${one.name}`, valueFields(one), "Replace", async (values) => setValue(`${path}/${one.name}`, values));
  if (saved) say(`Replaced ${one.name}.`);
}
