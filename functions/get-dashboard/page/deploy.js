// Deploys a ref of a repository. The conditions that the deployment has to meet are shown before the button.

import { ApiError, all, change, get } from "./api.js";
import { h, icon, typed } from "./dom.js";
import { choice, choices, clearErrors, field, form, input, offerRefs, showError } from "./form.js";
import { loaded } from "./list.js";
import { go } from "./route.js";
import { lacks } from "./session.js";
import { button, dots, heading, section, short } from "./ui.js";

const GATES = { permission: "Permission", quota: "Rate limit", ref: "Ref", refs: "Allowed refs", requires: "Required",
  freeze: "Freeze", machine: "Build machine", variables: "Variables", minutes: "Build minutes", fences: "Guards", queue: "Queue", approvals: "Approvals",
  wait: "Wait timer", lock: "Turn", capacity: "Capacity" };
/** The conditions that a deployment waits for. The others refuse it. */
const WAITED = ["approvals", "wait", "lock", "capacity"];
const OUTCOMES = {
  starts: ["check", "good", "The deployment starts at once."],
  waits: ["clock", "wait", "The deployment is created and waits."],
  refused: ["cross", "bad", "The deployment would be refused."],
};

/**
 * Shows the form that deploys.
 * @param {View} screen
 */
export function deploy(screen) {
  const { params, query, signal } = screen;
  const path = `/v1/repositories/${encodeURIComponent(params.name)}`;
  return [
    heading(["Deploy ", typed(params.name)], null,
      h("a", { href: `/repositories/${params.name}` }, "Back to the repository")),
    loaded(screen, async () => {
      /** @type {[Repository, EnvironmentState[]]} */
      const [found, environments] = await Promise.all([get(path, signal), all(`${path}/environments`, signal)]);
      return { found, environments };
    }, ({ found, environments }) =>
      deployForm(path, found, environments, lacks(found, "deploy", "deployments:write"), query, signal)),
  ];
}

/**
 * @param {string} path
 * @param {Repository} found
 * @param {EnvironmentState[]} environments
 * @param {string | null} reason
 * @param {URLSearchParams} query
 * @param {AbortSignal} signal
 */
function deployForm(path, found, environments, reason, query, signal) {
  const gates = h("div", { class: "gates", "aria-live": "polite" });
  const variables = h("div", { class: "variables" });
  const live = (/** @type {string} */ name) => environments.find((one) => one.name === name)?.live;
  /** The body that the key stands for: a repeated request creates no second deployment. */
  let [sent, key] = ["", ""];

  const addVariable = () => {
    const number = variables.childElementCount + 1;
    const secret = h("input",
      { type: "checkbox", name: "secret", checked: true,
        onchange: () => (value.type = secret.checked ? "password" : "text") });
    const name = input("variable", { "aria-label": `Name of variable ${number}`, placeholder: "NAME" });
    const value = input("value",
      { type: "password", "aria-label": `Value of variable ${number}`, placeholder: "value",
        autocomplete: "new-password" });
    /** @type {HTMLElement} */
    const line = h("div", { class: "variable" }, name, value, h("label", { class: "check" }, secret, "Secret"),
      button([], () => (line.remove(), check()), { kind: "plain", icon: "cross", label: `Remove variable ${number}` }));
    variables.append(line);
    name.focus();
  };

  const body = () => {
    const values = new FormData(element);
    const lines = [...variables.children].map((line) => {
      const [name, value, secret] = line.querySelectorAll("input");
      return /** @type {const} */ ([name.value.trim(), { value: value.value, secret: secret.checked }]);
    }).filter(([name]) => name);
    const environment = `${values.get("member") ?? ""}`.trim() || `${values.get("environment")}`;
    return {
      ref: `${values.get("ref")}`.trim(), environment,
      ...(lines.length ? { variables: Object.fromEntries(lines) } : {}),
      ...(why.value ? { override: { reason: why.value } } : {}),
      ...(values.get("guard") ? { expected_current: live(environment)?.deployment_id ?? null } : {}),
    };
  };

  let checks = 0;
  const check = async () => {
    const number = ++checks;
    guard();
    if (reason) return;
    if (!body().ref) return gates.replaceChildren(h("p", { class: "muted" },
        "Enter a ref to see what the deployment has to meet."));
    gates.setAttribute("aria-busy", "true");
    try {
      const preflight = await change("POST", `${path}/deployments/preflight`, body());
      if (number !== checks || signal.aborted) return;
      clearErrors(element);
      showGates(gates, preflight);
      submit(preflight.outcome === "refused" ? "The conditions above are not met." : null);
    } catch (error) {
      if (number !== checks || signal.aborted || !(error instanceof ApiError)) return;
      gates.replaceChildren(h("p", { class: "bad" }, icon("cross"), " ",
          typed(error.details[0]?.message ?? error.message)));
      // Conditions that could not be asked for stop nobody: the API checks them again.
      submit(error.status && error.status < 500 ? error.message : null);
      if (error.details.length) showError(element, error);
    } finally {
      gates.removeAttribute("aria-busy");
    }
  };
  /** @param {string | null} refused */
  const submit = (refused) => {
    refused ??= reason;
    const send = /** @type {HTMLButtonElement} */ (element.querySelector(".buttons button"));
    refused ? send.setAttribute("aria-disabled", "true") : send.removeAttribute("aria-disabled");
    refused ? send.setAttribute("aria-description", refused) : send.removeAttribute("aria-description");
    send.textContent = `Deploy to ${body().environment}`;
  };
  const guard = () => {
    const now = live(body().environment);
    guarded.textContent = now ? `Replace #${now.number} only` : "Deploy only while nothing is live";
  };
  const guarded = h("span");
  const asked = query.get("environment") ?? "preview";
  const patterns = environments.map(({ name }) => name).filter((name) => name.endsWith("*"));
  const member = input("member", { maxlength: 40, oninput: () => soon(), placeholder: patterns[0]?.replace("*", "42"),
    value: environments.some(({ name }) => name === asked) ? "" : asked });
  const why = input("override.reason", { maxlength: 200, oninput: () => soon() });

  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const soon = () => {
    clearTimeout(timer);
    // The button tells at once where it deploys to. Whoever does not wait for the conditions gets the API's own answer.
    gates.setAttribute("aria-busy", "true");
    submit(null);
    timer = setTimeout(check, 600);
  };
  const ref = input("ref", { required: true, value: query.get("ref") ?? found.default_branch, oninput: soon });
  const element = form([
    field("Ref", ref, "A branch, a tag, a full commit SHA or a full ref name."), offerRefs(ref, path, signal),
    choices("Environment", "radio", "environment",
      environments.map(({ name }) =>
        ({ value: name, text: name, hint: live(name) ? `#${live(name)?.number} is live` : "Nothing is live" })),
      [asked]),
    patterns.length > 0 && field("Or a new member of a pattern", member,
      `The deployment creates it, if one of these matches: ${patterns.join(", ")}. Leave it empty for the environment above.`),
    h("fieldset", { class: "field", "data-field": "variables" }, h("legend", null, "Variables"),
      h("div", { class: "hint" },
        "The build gets them. Secret values are never shown again, and masked in the log."),
        variables,
      button("Add variable", addVariable, { icon: "plus" }), h("div", { class: "error" })),
    choice(h("input", { type: "checkbox", name: "guard" }), guarded,
      "It ends without running if another one is live when its turn comes."),
    !lacks(found, "admin", "repositories:write") && field("Reason to override the rules", why,
      "Leave it empty to keep to the environment’s rules. Approvals are needed all the same."),
    !reason && section("Before it starts", gates),
  ], "Deploy", async () => {
    const wanted = body();
    if (sent !== JSON.stringify(wanted)) [sent, key] = [JSON.stringify(wanted), crypto.randomUUID()];
    const { id } = await change("POST", `${path}/deployments`, wanted, { "Idempotency-Key": key });
    go(`/deployments/${id}`);
  }, { reason });
  element.addEventListener("change", soon);
  queueMicrotask(() => (submit(null), check()));
  return element;
}

/**
 * Shows the outcome that a deployment would have, and each condition.
 * @param {HTMLElement} place
 * @param {Preflight} preflight
 */
function showGates(place, { gates, outcome, sha, on_ref: ref }) {
  const [name, kind, text] = OUTCOMES[outcome];
  place.replaceChildren(
    h("p", { class: `outcome ${kind}` }, icon(/** @type {"check"} */ (name)), h("strong", null, text)),
    h("ul", { class: "checks" }, gates.map(({ gate, passes, message }) => {
      const waits = !passes && (outcome === "waits" || WAITED.includes(gate));
      return h("li", null, h("span", { class: passes ? "good" : waits ? "wait" : "bad" },
          icon(passes ? "check" : waits ? "clock" : "cross"),
          h("span", { class: "unseen" }, passes ? "Met: " : waits ? "Waits: " : "Not met: ")),
        h("span", { class: "name" }, GATES[gate]), h("span", null, typed(message)));
    })),
    sha ? h("p", { class: "meta" },
      dots(["Commit ", short(sha)], ref && ["on ", typed(ref.replace(/^refs\/(heads|tags)\//, ""))])) : "");
}
