// Programs that call with OAuth2 client credentials.

import { change } from "./api.js";
import { h, typed } from "./dom.js";
import { ask, field, input, remover } from "./form.js";
import { settingsList } from "./list.js";
import { nameOf, names, refusal } from "./session.js";
import { scopeChoices, scopeList } from "./tokens.js";
import { dots, row, time } from "./ui.js";

/**
 * Shows the applications.
 * @param {View} screen
 */
export function applications(screen) {
  const reason = refusal("account:write", "owner");
  return settingsList(screen, {
    title: "Applications", path: "/v1/applications?per_page=25", names, add: ["Register application", register, reason],
    intro: "An application is a program that gets its tokens from your identity provider by client credentials.",
    none: ["app", "No applications",
      "Register an OAuth2 client of your identity provider, such as your CI, so that it can call the API for the account."],
    row: (/** @type {Application} */ one, actors, reload) => row(one.id, typed(one.name),
      [dots(["Client ", h("code", null, one.id)],
          ["Registered ", time(one.created_at), " by ", typed(nameOf(one.created_by, actors))]), scopeList(one.scopes)],
      remover("Remove", one.name, "Its tokens stop working within 30 seconds.",
        `/v1/applications/${encodeURIComponent(one.id)}`, reload, reason)),
  });
}

const register = () => ask("Register an application", [
  field("Client ID", input("client_id", { required: true, maxlength: 128 }),
    "As your identity provider names the client."),
  field("Name", input("name", { required: true, maxlength: 100 })),
  scopeChoices(["repositories:read"], (scope) => /^(repositories|deployments):/.test(scope)),
  field("Access token of the client",
    h("textarea", { name: "access_token", rows: 4, required: true, spellcheck: "false" }),
    "Got by client credentials in the last ten minutes. It proves that the client is yours, and needs no scope of this API."),
], "Register", (values) =>
  change("POST", "/v1/applications",
  { client_id: values.get("client_id"), name: values.get("name"), scopes: values.getAll("scopes"),
  access_token: `${values.get("access_token")}`.trim() }));
