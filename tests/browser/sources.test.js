// Connections, the settings of a repository, its deploy rules, its branches and its hooks.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";
import { unique } from "./stack.js";

/** Registers a repository of this test alone, with the source of the others'. */
async function another() {
  const { clone_url: url } = await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}`);
  return stack.call(stack.owner, "POST", "/v1/repositories", { name: unique("site"), clone_url: url, default_branch: "main" });
}

/** Returns a repository as it is now. @param {{id: string}} repository */
const now = ({ id }) => stack.call(stack.owner, "GET", `/v1/repositories/${id}`);

/**
 * Fails if a text is anywhere in the document, or in the value of a field, once the dialog is gone.
 * @param {import("playwright-core").Page} page
 * @param {string} secret
 */
async function assertGone(page, secret) {
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate((text) => document.documentElement.outerHTML.includes(text)
    || [...document.querySelectorAll("input, textarea")].some((one) => /** @type {HTMLInputElement} */ (one).value.includes(text)),
    secret), false);
}

test("a connection is created, checked, used, changed and deleted, and its password is seen nowhere",
  { skip: !stack.privateHost }, async () => {
  const { host, cloneUrl, username, password } = await /** @type {NonNullable<typeof stack.privateHost>} */ (stack.privateHost)();
  const [name, after, repository] = [unique("Bot"), unique("Robot"), unique("private")];
  const owner = await signedIn();
  const row = (/** @type {string} */ called) => owner.page.getByRole("listitem").filter({ hasText: called });
  const send = (/** @type {string} */ text) => owner.dialog().getByRole("button", { name: text }).click();
  await owner.open("/settings/connections");
  await owner.button("Add connection").first().click();
  await send("Add connection");
  for (const field of ["name", "host", "username", "password"]) {
    await owner.dialog().locator(`[name=${field}][aria-invalid=true]`).waitFor();
    await owner.field({ name: "Name", host: "Host", username: "Username", password: "Password or token" }[field] ?? "")
      .fill({ name, host, username, password: "wrong" }[field] ?? "");
    if (field !== "password") await send("Add connection");
  }
  await send("Add connection");
  // The check of a new connection runs at once.
  await owner.dialog().locator(".callout.bad").getByText("It does not work").waitFor();
  await owner.field("Clone URL").fill(cloneUrl);
  await send("Check");
  await owner.dialog().locator(".callout.bad").getByText("refused the credential").waitFor();
  await owner.page.keyboard.press("Escape");
  await row(name).getByText("Not used yet").waitFor();

  await owner.button(`Edit ${name}`).click();
  assert.equal(await owner.field("Password or token").inputValue(), "");
  await owner.field("Password or token").fill(password);
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PATCH"), send("Save")]);
  assert.deepEqual(sent.postDataJSON(), { password }, "what stays is not sent");
  await owner.says(`Saved ${name}.`);
  await assertGone(owner.page, password);
  await owner.button(`Check ${name}`).click();
  await owner.field("Clone URL").fill(cloneUrl);
  await send("Check");
  await owner.dialog().locator(".callout.good").getByText("The repository can be read").waitFor();
  await owner.page.keyboard.press("Escape");

  await owner.open("/repositories");
  await owner.button("Add repository").click();
  await owner.field("Clone URL").fill(cloneUrl);
  await owner.field("Name").fill(repository);
  await owner.field("Default branch").fill("main");
  await owner.field("Connection").selectOption({ label: `${name} (${host})` });
  await send("Add repository");
  await owner.page.getByRole("heading", { name: repository }).waitFor();

  await owner.open("/settings/connections");
  await owner.button(`Edit ${name}`).click();
  await owner.field("Name").fill(after);
  await owner.dialog().getByRole("link", { name: repository }).waitFor();
  await send("Save");
  await row(after).getByText("Used by 1 repository").waitFor();
  await owner.button(`Delete ${after}`).click();
  await send("Delete");
  await owner.dialog().getByRole("alert").getByText(repository).waitFor();
  await owner.page.keyboard.press("Escape");
  await stack.call(stack.owner, "DELETE", `/v1/repositories/${repository}`);
  await owner.button(`Delete ${after}`).click();
  await send("Delete");
  await owner.says(`Deleted ${after}.`);
  await row(after).waitFor({ state: "detached" });
  await owner.close();
});

test("a GitHub App has fields of its own, and a bad key is marked", async () => {
  const owner = await signedIn();
  await owner.open("/settings/connections");
  await owner.button("Add connection").first().click();
  await owner.field("Name").fill("Acme deploys");
  await owner.field("Username").fill("left behind");
  await owner.page.getByRole("radio", { name: "GitHub App" }).check();
  await owner.field("Username").waitFor({ state: "hidden" });
  assert.equal(await owner.field("Host").inputValue(), "github.com");
  await owner.field("App ID").fill("123456");
  await owner.field("Private key").fill("no key");
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "POST"),
      owner.dialog().getByRole("button", { name: "Add connection" }).click()]);
  assert.deepEqual(sent.postDataJSON(), { name: "Acme deploys", kind: "github_app", host: "github.com", app_id: 123456,
    private_key: "no key", installation_id: null });
  await owner.dialog().locator("[name=private_key][aria-invalid=true]").waitFor();
  await owner.close();
});

test("a repository is renamed and built otherwise, and its former address leads to it", async () => {
  const repository = await another();
  const name = unique("renamed");
  const owner = await signedIn();
  await owner.open(`/repositories/${repository.name}`);
  await owner.page.locator(".heading").getByRole("link", { name: "Settings" }).click();
  await owner.settled();
  await owner.field("Default branch").focus();
  await owner.page.locator("datalist option[value=slow]").waitFor({ state: "attached" });
  await owner.field("Default branch").fill("nothing");
  await owner.button("Save").click();
  await owner.page.locator("[name=default_branch][aria-invalid=true], .problem:not([hidden])").first().waitFor();
  await owner.field("Default branch").fill("slow");
  await owner.field("Buildspec").fill("ci/../build.yml");
  await owner.button("Save").click();
  await owner.page.locator("[name=buildspec_path][aria-invalid=true]").waitFor();
  await owner.field("Buildspec").fill("ci/build.yml");
  await owner.field("Fetch depth").fill("50");
  await owner.field("Privileged").selectOption("On");
  await owner.button("Save").click();
  await owner.page.locator("[name=privileged][aria-invalid=true]").waitFor();
  await owner.field("Privileged").selectOption("Off");
  await owner.field("Image").fill("aws/codebuild/standard:7.0");
  await owner.field("Size").selectOption("SMALL");
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PATCH"),
      owner.button("Save").click()]);
  assert.deepEqual(sent.postDataJSON(), { default_branch: "slow", buildspec_path: "ci/build.yml", fetch_depth: 50,
    image: "aws/codebuild/standard:7.0", compute_type: "BUILD_GENERAL1_SMALL" });
  await owner.says("Saved the settings.");
  await owner.field("Buildspec").fill("");
  await owner.field("Fetch depth").fill("");
  await owner.field("Image").fill("");
  await owner.field("Size").selectOption("The operator’s");
  await owner.button("Save").click();
  await owner.page.waitForFunction(() => /** @type {HTMLInputElement} */ (document.querySelector("[name=buildspec_path]")).value);
  assert.equal(await owner.field("Buildspec").inputValue(), "buildspec.yml", "an empty field resets it");
  const { fetch_depth: depth, image, compute_type: size, privileged } = await now(repository);
  assert.deepEqual([depth, image, size, privileged], [1, null, null, false]);

  await owner.field("Name").fill(name);
  await owner.button("Save").click();
  await owner.page.waitForURL(`**/repositories/${name}/settings`);
  await owner.open(`/repositories/${repository.name}`);
  await owner.page.waitForURL(`**/repositories/${name}`);
  await owner.page.getByRole("heading", { name }).waitFor();
  await owner.close();
});

test("deploy rules are added, moved by keyboard, corrected and removed", async () => {
  const repository = await another();
  const kept = { refs: ["docs"], environment: "staging", paths: ["a folder/**"] };
  await stack.call(stack.owner, "PATCH", `/v1/repositories/${repository.id}`, { deploy_rules: [kept] });
  const owner = await signedIn();
  const rule = (/** @type {number} */ number) => owner.page.getByRole("group", { name: `Rule ${number}` });
  const press = async (/** @type {string} */ button) => {
    await owner.button(button).focus();
    await owner.page.keyboard.press("Enter");
  };
  const rules = async () => (await now(repository)).deploy_rules;
  await owner.open(`/repositories/${repository.name}/settings`);
  await press("Add rule");
  await owner.page.keyboard.type("main release/*");
  await rule(2).getByLabel("Environment").selectOption("production");
  await press("Move rule 2 up");
  assert.equal(await owner.page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Move rule 1 up");
  assert.equal(await owner.button("Move rule 1 up").getAttribute("aria-description"), "This is the first rule.");
  await owner.button("Save").click();
  await owner.says("Saved the settings.");
  const added = { refs: ["main", "release/*"], environment: "production", paths: [] };
  assert.deepEqual(await rules(), [added, kept], "a glob with a space stays as it is");

  await rule(2).getByLabel("Branches and tags").fill("docs [a");
  await owner.button("Save").click();
  await rule(2).locator("[name='deploy_rules[1].refs'][aria-invalid=true]").waitFor();
  await rule(2).getByLabel("Branches and tags").fill("!docs");
  await press("Remove rule 1");
  assert.equal(await owner.page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Remove rule 1");
  await owner.button("Save").click();
  await owner.page.waitForResponse((response) => response.request().method() === "PATCH");
  assert.deepEqual(await rules(), [{ ...kept, refs: ["!docs"] }]);
  await owner.close();
});

test("a repository is deleted once its name is entered", async () => {
  const repository = await another();
  const owner = await signedIn();
  await owner.open(`/repositories/${repository.name}/settings`);
  await owner.button(`Delete ${repository.name}`).click();
  const confirm = owner.dialog().getByRole("button", { name: "Delete" });
  await owner.field("Name of the repository").fill("another");
  await confirm.click();
  await owner.dialog().locator("[aria-invalid=true]").waitFor();
  await now(repository);
  await owner.field("Name of the repository").fill(repository.name);
  await confirm.click();
  await owner.says(`Deleted ${repository.name}.`);
  await owner.page.waitForURL("**/repositories");
  await assert.rejects(now(repository), { code: "not_found" });
  await owner.close();
});

test("who may only read a repository sees its settings and why they stay as they are", async () => {
  const repository = await another();
  const { token } = await stack.member();
  const member = await signedIn(token);
  await member.open(`/repositories/${repository.name}/settings`);
  assert.equal(await member.field("Name").inputValue(), repository.name);
  assert.equal(await member.field("Connection").count(), 0, "members see no connections");
  for (const name of ["Save", `Delete ${repository.name}`]) {
    assert.match(`${await member.button(name).getAttribute("aria-description")}`, /^You need the permission “admin”/);
  }
  assert.match(`${await member.button("Clear the cache").getAttribute("aria-description")}`, /^You need the permission “deploy”/);
  await member.open(`/repositories/${repository.name}/hooks`);
  await member.says("You can’t see this");
  await member.open("/settings/connections");
  await member.says("You can’t see this");
  await member.close();
});

test("a signed push deploys, and the hook’s secret is shown once, rotated and gone", async () => {
  const { id, name } = await another();
  await stack.call(stack.owner, "PATCH", `/v1/repositories/${id}`,
    { deploy_rules: [{ refs: ["main"], environment: "preview" }] });
  const owner = await signedIn();
  const push = async (/** @type {string} */ url, /** @type {string} */ secret, /** @type {string} */ ref) => {
    const body = JSON.stringify({ ref, after: "3f786850e387550fdab836ed7e6dc881de23001b" });
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    const response = await fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json",
          "X-GitHub-Event": "push", "X-GitHub-Delivery": unique("push"), "X-Hub-Signature-256": `sha256=${signature}` } });
    return response.status;
  };
  const secret = async () => {
    const shown = await owner.dialog().locator(".secret code").innerText();
    assert.match(shown, /^whsec_/);
    await owner.dialog().getByText("Webhooks").waitFor();
    await owner.button("Done").click();
    await assertGone(owner.page, shown);
    return shown;
  };
  await owner.open(`/repositories/${name}/settings`);
  await owner.link("Hooks").click();
  await owner.says("No hooks yet");
  await owner.button("Add hook").first().click();
  assert.ok(await owner.field("Ref").isHidden());
  await owner.dialog().getByRole("button", { name: "Add hook" }).click();
  await owner.dialog().locator(".secret").waitFor();
  const url = await owner.dialog().locator(".copyable code").last().innerText();
  const first = await secret();

  const deliveries = owner.page.getByRole("list", { name: "Deliveries" });
  await owner.page.locator("summary", { hasText: "Deliveries" }).click();
  await owner.says("Nothing has been delivered.");
  assert.equal(await push(url, first, "refs/heads/main"), 202);
  await deliveries.locator(".badge.good", { hasText: "Deployed" }).waitFor({ timeout: 40_000 });
  assert.equal(await push(url, first, "refs/heads/broken"), 202);
  await deliveries.locator(".badge", { hasText: "Skipped" }).waitFor({ timeout: 40_000 });

  await owner.button(/^Rotate/).click();
  await owner.field("Overlap").selectOption("None: the old secret stops working at once");
  await owner.dialog().getByRole("button", { name: "Rotate" }).click();
  await owner.dialog().locator(".secret").waitFor();
  const second = await secret();
  assert.notEqual(second, first);
  assert.equal(await push(url, first, "refs/heads/main"), 404);
  assert.equal(await push(url, second, "refs/heads/main"), 202);
  await deliveries.locator(".badge", { hasText: "Already deployed" }).waitFor({ timeout: 40_000 });

  await deliveries.getByRole("link", { name: "Deployment" }).click();
  await owner.page.locator(".heading").getByText("GitHub hook").waitFor();
  await owner.open(`/repositories/${name}/hooks`);
  await owner.button(/^Delete/).click();
  await owner.dialog().getByRole("button", { name: "Delete" }).click();
  await owner.says("No hooks yet");
  assert.equal(await push(url, second, "refs/heads/main"), 404);
  await owner.close();
});

test("a deploy hook is a URL that deploys one ref to one environment", async () => {
  const { name } = await another();
  const owner = await signedIn();
  await owner.open(`/repositories/${name}/hooks`);
  await owner.says("the repository has no deploy rules");
  await owner.button("Add hook").first().click();
  await owner.field("Sender").selectOption("Deploy hook");
  await owner.field("Environment").selectOption("staging");
  await owner.field("Ref").fill("main");
  await owner.dialog().getByRole("button", { name: "Add hook" }).click();
  const url = await owner.dialog().locator(".secret code").innerText();
  const key = `${new URL(url).searchParams.get("key")}`;
  assert.match(await owner.dialog().locator("pre").innerText(), new RegExp(`Bearer whsec_.* ${url.split("?")[0]}$`));
  await owner.button("Done").click();
  await assertGone(owner.page, key);
  await owner.says("Deploys main to staging");
  assert.equal((await fetch(url, { method: "POST" })).status, 202);
  await owner.page.locator("summary", { hasText: "Deliveries" }).click();
  await owner.page.getByRole("list", { name: "Deliveries" }).getByText("Deployed", { exact: true }).waitFor({ timeout: 40_000 });
  await owner.close();
});

test("a repository’s cache is cleared", async () => {
  const repository = await another();
  const owner = await signedIn();
  await owner.open(`/repositories/${repository.name}/settings`);
  const [request] = await Promise.all([
    owner.page.waitForRequest((sent) => sent.method() === "DELETE"), owner.button("Clear the cache").click()]);
  assert.ok(request.url().endsWith(`/v1/repositories/${repository.id}/cache`));
  await owner.says("Cleared the cache.");
  await owner.open("/audit");
  // The filter has the text too, and stands above the events.
  await owner.page.getByText("cleared cache from repository").last().waitFor();
  await owner.close();
});
