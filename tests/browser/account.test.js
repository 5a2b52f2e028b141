// Tokens, sessions, members, invitations, teams, applications, trusts and the account.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedIn, stack, visitor } from "./scene.js";
import { unique } from "./stack.js";

test("a token is created, proved, rotated and revoked", async () => {
  const owner = await signedIn();
  const name = unique("CI");
  await owner.open("/settings/api/tokens");
  await owner.link("New token").click();
  assert.ok(await owner.page.getByRole("radio", { name: "in 90 days" }).isChecked());
  assert.deepEqual(await owner.page.getByRole("checkbox",
      { checked: true }).evaluateAll((boxes) => boxes.map((box) => box.getAttribute("value"))), ["repositories:read"]);
  assert.ok(await owner.page.getByRole("radio", { name: "never" }).isDisabled());
  await owner.button("Create token").click();
  await owner.page.locator("[name=name][aria-invalid=true]").waitFor();
  await owner.field("Name").fill(name);
  await owner.button("Create token").click();

  const first = await owner.dialog().locator(".secret code").innerText();
  assert.match(first, /^dgp_/);
  assert.equal(await owner.dialog().locator("pre").innerText(),
    `curl -H "Authorization: Bearer ${first}" ${stack.url}/v1/user`);
  await owner.button("Copy the secret").click();
  assert.equal(await owner.page.evaluate(() => navigator.clipboard.readText()), first);
  assert.deepEqual((await stack.call(first, "GET", "/v1/user")).scopes, ["repositories:read"]);
  await owner.button("Done").click();
  await owner.says("Expires in 90 days");

  await owner.button(`Rotate ${name}`).click();
  await owner.field("Overlap").selectOption("1 hour");
  await owner.dialog().getByRole("button", { name: "Rotate" }).click();
  await owner.dialog().locator(".secret").waitFor();
  const second = await owner.dialog().locator(".secret code").innerText();
  assert.notEqual(second, first);
  await stack.call(first, "GET", "/v1/user");
  await stack.call(second, "GET", "/v1/user");
  await owner.button("Done").click();

  await owner.button(`Revoke ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Revoke" }).click();
  await owner.says(`Revoked ${name}.`);
  await owner.page.getByText(name, { exact: true }).waitFor({ state: "detached" });
  await assert.rejects(async () => {
    for (const end = Date.now() + 40_000; Date.now() < end;
      await owner.page.waitForTimeout(1000)) await stack.call(second, "GET", "/v1/user");
  }, { code: "token_revoked" });
  await owner.close();
});

test("a token is renamed, loses a scope and is renewed", async () => {
  const [before, after] = [unique("old"), unique("new")];
  const { id, token } = await stack.call(stack.owner, "POST", "/v1/tokens",
    { name: before, scopes: ["repositories:read", "deployments:read"], expires_in_days: 7 });
  const read = () => stack.call(stack.owner, "GET", `/v1/tokens/${id}`);
  const owner = await signedIn();
  await owner.open("/settings/api/tokens");
  const row = (/** @type {string} */ name) => owner.page.getByRole("listitem").filter({ hasText: name });
  await row(before).getByText("Expires soon").waitFor();

  await owner.button(`Edit ${before}`).click();
  await owner.field("Name").fill(after);
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PATCH"),
      owner.button("Save").click()]);
  assert.deepEqual(sent.postDataJSON(), { name: after }, "scopes that stay are not sent");
  await owner.says(/^Saved /);

  await owner.button(`Edit ${after}`).click();
  for (const scope of ["repositories:read", "deployments:read"]) await owner.page.getByRole("checkbox", { name: scope }).uncheck();
  await owner.button("Save").click();
  await owner.dialog().locator("[data-field=scopes][aria-invalid=true]").waitFor();
  await owner.page.getByRole("checkbox", { name: "repositories:read" }).check();
  await owner.button("Save").click();
  await owner.dialog().waitFor({ state: "detached" });
  await row(after).getByText("deployments:read").waitFor({ state: "detached" });
  assert.deepEqual((await read()).scopes, ["repositories:read"]);
  await stack.call(token, "GET", "/v1/repositories");

  await owner.button(`Rotate ${after}`).click();
  assert.ok(await owner.page.getByRole("radio", { name: "after the same time as before" }).isChecked());
  await owner.page.getByRole("radio", { name: "in 30 days" }).check();
  await owner.dialog().getByRole("button", { name: "Rotate" }).click();
  await owner.dialog().locator(".secret").waitFor();
  await owner.button("Done").click();
  await row(after).getByText("Valid").waitFor();
  const days = (Date.parse((await read()).expires_at) - Date.now()) / 86_400_000;
  assert.ok(days > 29 && days <= 30, `${days} days`);
  await owner.close();
});

test("admins see everybody’s tokens and revoke them, members see their own", async () => {
  const { token, email } = await stack.member();
  const name = unique("laptop");
  await stack.call(token, "POST", "/v1/tokens", { name, scopes: ["repositories:read"] });
  const owner = await signedIn();
  await owner.open("/settings/api/tokens");
  await owner.field("Whose tokens").selectOption("Everybody’s tokens");
  await owner.page.getByRole("listitem").filter({ hasText: name }).getByText(`of ${email}`).waitFor();
  await owner.field("Name begins with").fill(name.slice(0, -1).toUpperCase());
  await owner.field("Name begins with").press("Enter");
  await owner.field("Scope").selectOption("repositories:read");
  await owner.settled();
  assert.equal(await owner.page.getByRole("list", { name: "Tokens" }).getByRole("listitem").count(), 1);
  assert.match(owner.page.url(), /user=all/);
  await owner.field("Scope").selectOption("teams:write");
  await owner.says("No token is found");
  await owner.field("Scope").selectOption("Any scope");
  for (const verb of ["Edit", "Rotate"]) {
    assert.equal(await owner.button(`${verb} ${name}`).getAttribute("aria-disabled"), "true");
  }
  await owner.button(`Revoke ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Revoke" }).click();
  await owner.says(`Revoked ${name}.`);
  const member = await signedIn(token);
  await member.open("/settings/api/tokens");
  assert.ok(await member.field("Whose tokens").isDisabled());
  await member.open("/settings/members");
  assert.ok(await member.field(`Role of ${email}`).isDisabled());
  await member.page.locator(".filters").getByText("Only owners and admins can do this.").waitFor();
  await owner.open(`/settings/members?email=${email.slice(0, -4)}`);
  const members = owner.page.getByRole("list", { name: "Members" }).getByRole("listitem");
  await members.filter({ hasText: email }).waitFor();
  assert.equal(await members.count(), 1);
  await owner.field("Role", { exact: true }).selectOption("Owner");
  await owner.says("Nobody is found");
  await owner.close();
  await member.close();
});

test("somebody is invited by a link, becomes a member, an admin, and is removed", async () => {
  const owner = await signedIn();
  const email = `${unique("linus")}@example.com`;
  await owner.open("/settings/members");
  await owner.button("Invite").click();
  await owner.field("Email address").fill("not an address");
  await owner.dialog().getByRole("button", { name: "Invite" }).click();
  await owner.dialog().locator("[name=email][aria-invalid=true]").waitFor();
  await owner.field("Email address").fill(email);
  await owner.dialog().getByRole("button", { name: "Invite" }).click();
  await owner.dialog().locator(".secret").waitFor();
  const link = await owner.dialog().locator(".secret code").innerText();
  await owner.button("Done").click();
  await owner.page.getByRole("list", { name: "Invitations" }).getByText(email).waitFor();

  const guest = await visitor();
  await guest.page.goto(link);
  await guest.button("Accept the invitation").click();
  await guest.dialog().locator(".secret").waitFor();
  assert.match(await guest.dialog().locator(".secret code").innerText(), /^dgp_/);
  await guest.button("Done").click();
  await guest.page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.equal(await guest.page.evaluate(() => location.hash), "");

  await owner.open("/settings/members");
  await owner.field(`Role of ${email}`).selectOption("admin");
  await owner.button("Change the role").click();
  await owner.dialog().waitFor({ state: "detached" });
  await owner.open("/settings/members");
  assert.equal(await owner.field(`Role of ${email}`).inputValue(), "admin");
  await owner.button(`Remove ${email}`).click();
  await owner.dialog().getByRole("button", { name: "Remove" }).click();
  await owner.says(`Removed ${email}.`);
  await owner.page.getByRole("list", { name: "Members" }).getByText(email).waitFor({ state: "detached" });
  await owner.open("/audit");
  await owner.page.locator("summary", { hasText: "removed member" }).first().click();
  await owner.says("Request");
  await owner.page.locator("details[open] dt", { hasText: "Session" }).waitFor();
  await guest.close();
  await owner.close();
});

test("an invitation is revoked", async () => {
  const email = `${unique("eve")}@example.com`;
  await stack.call(stack.owner, "POST", "/v1/invitations", { email });
  const owner = await signedIn();
  await owner.open("/settings/members");
  await owner.button(`Revoke the invitation of ${email}`).click();
  await owner.dialog().getByRole("button", { name: "Revoke" }).click();
  await owner.says(`Revoked the invitation of ${email}.`);
  await owner.close();
});

test("a team gives its member the permission to deploy", async () => {
  const { token, email } = await stack.member();
  const owner = await signedIn();
  const name = unique("Payments");
  await owner.open("/settings/teams");
  await owner.button("New team").first().click();
  await owner.field("Name").fill(name);
  await owner.field("Description").fill("Moves money");
  await owner.button("Create team").click();
  await owner.page.getByRole("heading", { name }).waitFor();
  await owner.button("Add member").click();
  await owner.field("Member").selectOption(email);
  await owner.dialog().getByRole("button", { name: "Add" }).click();
  await owner.page.getByRole("list", { name: "Members" }).getByText(email).waitFor();
  await owner.button("Add repository").click();
  await owner.field("Repository").selectOption(stack.repository);
  await owner.dialog().getByRole("button", { name: "Add" }).click();
  await owner.field(`Permission on ${stack.repository}`).selectOption("deploy");
  await owner.says(`The team now has deploy on ${stack.repository}.`);

  const member = await signedIn(token);
  await member.open(`/repositories/${stack.repository}`);
  await member.link("Deploy").first().waitFor();

  await owner.button("Edit").click();
  await owner.field("Description").fill("Moves all the money");
  await owner.button("Save").click();
  await owner.says("Moves all the money");
  await owner.button(`Remove ${email}`).click();
  await owner.dialog().getByRole("button", { name: "Remove" }).click();
  await owner.says("No members yet.");
  await owner.button(`Delete ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Delete" }).click();
  await owner.page.getByRole("heading", { name: "Teams" }).waitFor();
  await owner.close();
  await member.close();
});

test("a trust is created and removed", async () => {
  const owner = await signedIn();
  const name = unique("GitHub Actions");
  await owner.open("/settings/api/trusts");
  await owner.button("New trust").first().click();
  await owner.field("Name").fill(name);
  await owner.field("Issuer").fill("https://token.actions.githubusercontent.com");
  await owner.field("Audience").fill("https://api.git.dev");
  await owner.field("Claims").fill("repository = acme/web\nref = refs/heads/main");
  const environments = owner.dialog().getByRole("group", { name: "Environments" });
  assert.equal(await environments.getByRole("checkbox").count(), 3);
  const other = unique("qa");
  await stack.call(stack.owner, "POST", `/v1/repositories/${stack.repository}/environments`, { name: other });
  await owner.field("Repository").selectOption(stack.repository);
  await environments.getByRole("checkbox", { name: other }).check();
  await owner.field("Other environments").fill("staging");
  await owner.button("Create trust").click();
  await owner.says("repository = acme/web");
  const trusted = owner.page.getByRole("list", { name: "Trusts" }).getByRole("listitem").filter({ hasText: name });
  for (const environment of [other, "staging"]) await trusted.getByText(environment).waitFor();
  await owner.button(`Remove ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Remove" }).click();
  await owner.says(`Removed ${name}.`);
  await owner.open("/settings/api/applications");
  await owner.button("Register application").first().click();
  await owner.button("Register").click();
  await owner.dialog().locator("[aria-invalid=true]").first().waitFor();
  await owner.close();
});

test("an application is removed and registered", async () => {
  const { id, token } = await stack.machine();
  const owner = await signedIn();
  const name = unique("CI");
  await owner.open("/settings/api/applications");
  await owner.button("Remove Demo").click();
  await owner.dialog().getByRole("button", { name: "Remove" }).click();
  await owner.says("Removed Demo.");
  await owner.button("Register application").first().click();
  await owner.field("Client ID").fill(id);
  await owner.field("Name").fill(name);
  await owner.page.getByRole("checkbox", { name: "deployments:read" }).check();
  await owner.field("Access token of the client").fill(` ${token}\n`);
  await owner.button("Register").click();
  const row = owner.page.getByRole("list", { name: "Applications" }).getByRole("listitem").filter({ hasText: name });
  await row.getByText("by you").waitFor();
  assert.deepEqual((await stack.call(token, "GET", "/v1/user")).scopes, ["repositories:read", "deployments:read"]);
  await owner.close();
});

test("a long list has pages, and the audit log is filtered and goes on with older events", async () => {
  const owner = await signedIn();
  const prefix = unique("many");
  /** @type {{id: string}[]} */
  const made = [];
  for (let at = 0; at < 26; at++) {
    made.push(await stack.call(stack.owner, "POST", "/v1/tokens", { name: `${prefix}-${at}`, scopes: ["repositories:read"] }));
  }
  await owner.open(`/settings/api/tokens?name=${prefix}`);
  const disabled = (/** @type {string} */ name) => owner.button(name).and(owner.page.locator("[aria-disabled=true]"));
  const tokens = owner.page.getByRole("list", { name: "Tokens" }).getByRole("listitem");
  await disabled("Previous").waitFor();
  assert.equal(await tokens.count(), 25);
  await owner.button("Next").click();
  await disabled("Next").waitFor();
  assert.equal(await tokens.count(), 1);
  await owner.button("Previous").click();
  await disabled("Previous").waitFor();
  assert.equal(await tokens.count(), 25);

  for (const { id } of made) await stack.call(stack.owner, "DELETE", `/v1/tokens/${id}`);
  await owner.open("/audit");
  const events = owner.page.getByRole("list", { name: "Events" }).getByRole("listitem");
  assert.equal(await events.count(), 50);
  await owner.button("Show older events").click();
  await events.nth(50).waitFor();
  await owner.field("Action").selectOption("created token");
  await events.filter({ hasText: `${prefix}-25` }).waitFor();
  assert.equal(await events.filter({ hasNotText: "created token" }).count(), 0);
  await owner.field("ID of the changed resource").fill(made[0].id);
  await owner.field("ID of the changed resource").press("Enter");
  await events.filter({ hasText: `${prefix}-0` }).waitFor();
  assert.equal(await events.count(), 1);
  await owner.page.locator("[name=until]").fill("2020-01-01");
  await owner.says("No events");
  assert.match(owner.page.url(), /action=token\.created&target=tok_\w+&until=2020-01-01$/);
  await owner.close();
});

test("the account’s settings change, and its limits are shown", async () => {
  const owner = await signedIn();
  await owner.open("/settings/account");
  await owner.page.getByRole("meter", { name: "Requests in this minute" }).waitFor();
  await owner.page.getByRole("radio", { name: "deploy every repository" }).check();
  await owner.button("Save").click();
  await owner.says(/^Saved/);
  assert.equal((await stack.call(stack.owner, "GET", "/v1/account")).base_permission, "deploy");
  await owner.page.getByRole("radio", { name: "read every repository" }).check();
  await owner.button("Save").click();
  await owner.page.waitForResponse((response) => response.request().method() === "PATCH");
  await owner.close();
});

test("a session is ended from another one", async () => {
  const { token } = await stack.member();
  const [laptop, phone] = [await signedIn(token), await signedIn(token)];
  await laptop.open("/settings/sessions");
  await laptop.says("This one");
  await laptop.page.getByRole("button",
    { name: /^End / }).and(laptop.page.locator(":not([aria-disabled])")).first().click();
  await laptop.dialog().getByRole("button", { name: "End" }).click();
  await laptop.says(/^Ended the session of /);
  await phone.page.goto("/repositories");
  await phone.page.getByRole("heading", { name: "Sign in" }).waitFor({ timeout: 40_000 });
  await laptop.button("Sign out").click();
  await laptop.page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await laptop.context.cookies(), []);
  await laptop.close();
  await phone.close();
});

test("a repository is added", async () => {
  const owner = await signedIn();
  await owner.open("/repositories");
  await owner.button("Add repository").click();
  await owner.field("Clone URL").fill("nonsense");
  await owner.field("Name").fill("bad name!");
  await owner.dialog().getByRole("button", { name: "Add repository" }).click();
  await owner.dialog().locator("[aria-invalid=true]").first().waitFor();
  const { clone_url: url } = await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}`);
  const name = unique("copy");
  await owner.field("Clone URL").fill(url);
  await owner.field("Name").fill(name);
  await owner.dialog().getByRole("button", { name: "Add repository" }).click();
  await owner.page.getByRole("heading", { name }).waitFor();
  await owner.open("/repositories");
  await owner.field("Search repositories").fill(name);
  await owner.page.getByRole("list",
    { name: "Repositories" }).getByRole("listitem").nth(1).waitFor({ state: "detached" });
  await owner.link(name).waitFor();
  await owner.close();
});

test("the colors are chosen, and stay when the page is loaded again", async () => {
  const owner = await signedIn();
  const background = () => owner.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await owner.field("Colors").selectOption("Dark");
  const dark = await background();
  assert.notEqual(dark, light);
  await owner.open("/repositories");
  assert.equal(await background(), dark);
  await owner.field("Colors").selectOption("System colors");
  assert.equal(await background(), light);
  await owner.close();
});
