// Issuers whose tokens are exchanged for tokens of the API, so that a CI needs no secret.

import { all, change } from "./api.js";
import { ENVIRONMENTS } from "./deployments.js";
import { h, typed } from "./dom.js";
import { ask, choices, field, input, remover, select } from "./form.js";
import { settingsList } from "./list.js";
import { nameOf, names, refusal } from "./session.js";
import { scopeChoices, scopeList } from "./tokens.js";
import { dots, row, time } from "./ui.js";

/**
 * Shows the trusts.
 * @param {View} screen
 */
export function trusts(screen) {
  const reason = refusal("account:write", "admin");
  return settingsList(screen, {
    title: "Trusts", path: "/v1/trusts?per_page=25", names, add: ["New trust", newTrust, reason],
    intro: "A trust says which tokens of another issuer are exchanged for a token of this API that is valid for at most an hour.",
    none: ["shield", "No trusts yet",
      "Trust your CI’s OIDC issuer, such as GitHub Actions or GitLab CI. Its jobs then deploy without a stored token."],
    row: (/** @type {Trust} */ one, actors, reload) => row(one.id, typed(one.name), [
      dots(["Issuer ", h("code", null, typed(one.issuer))], ["Audience ", h("code", null, typed(one.audience))],
        one.environments?.join(", "), one.repository_id ? "One repository" : "All repositories",
        ["Created ", time(one.created_at), " by ", typed(nameOf(one.created_by, actors))]),
      h("span", { class: "codes" },
        Object.entries(one.claims).map(([name, value]) => h("code", null, typed(`${name} = ${value}`)))),
        scopeList(one.scopes),
    ], remover("Remove", one.name, "No token is issued for it any more.", `/v1/trusts/${one.id}`, reload, reason)),
  });
}

async function newTrust() {
  /** @type {Repository[]} */
  const repositories = refusal("repositories:read") ? [] : await all("/v1/repositories").catch(() => []);
  const environments = h("div");
  const offer = (/** @type {string[]} */ names) => environments.replaceChildren(choices("Environments", "checkbox",
    "environments", names.map((name) => ({ value: name, text: name })), [], "Leave all empty to allow every environment."));
  offer(ENVIRONMENTS);
  const repository = select("repository_id",
    [["", "All repositories"], ...repositories.map(({ id, name }) => /** @type {[string, string]} */ ([id, name]))], "",
    { onchange: async () => {
      const { value } = repository;
      const own = value ? await all(`/v1/repositories/${value}/environments`).catch(() => []) : [];
      if (value === repository.value) offer(own.length ? own.map(({ name }) => name) : ENVIRONMENTS);
    } });
  await ask("New trust", [
    field("Name", input("name", { required: true, maxlength: 100, placeholder: "GitHub Actions of acme/web" })),
    field("Issuer", input("issuer",
        { type: "url", required: true, placeholder: "https://token.actions.githubusercontent.com" }), "The URL that the tokens have as their claim iss."),
    field("Audience", input("audience", { required: true, value: location.origin }), "Whom the tokens are for, as their claim aud."),
    field("Claims", h("textarea",
        { name: "claims", rows: 3, placeholder: "repository = acme/web\nref = refs/heads/main", spellcheck: "false" }),
      "One condition a line, as name = value. All have to hold. A * stands for one part between / or :."),
    scopeChoices(["deployments:read", "deployments:write"], (scope) => /^(repositories:read|deployments:)/.test(scope)),
    field("Repository", repository), environments,
    field("Other environments", input("others", { placeholder: "qa review-*" }), "Spaces separate them."),
  ], "Create trust", (values) => {
    const lines = `${values.get("claims")}`.split("\n").filter((line) => line.trim());
    const claims = Object.fromEntries(lines.map((line) =>
        [line.split("=")[0].trim(), line.split("=").slice(1).join("=").trim()]));
    const chosen = [...values.getAll("environments"), ...`${values.get("others")}`.split(/\s+/).filter(Boolean)];
    return change("POST", "/v1/trusts", {
      name: values.get("name"), issuer: values.get("issuer"), audience: values.get("audience"), claims,
        scopes: values.getAll("scopes"),
      repository_id: values.get("repository_id") || null, environments: chosen.length ? chosen : null,
    });
  });
}
