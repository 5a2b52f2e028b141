// The environments of a repository: their rules, their creation and their deletion.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";
import { unique } from "./stack.js";

const repository = `/repositories/${stack.repository}`;
/** Returns an environment as it is now. @param {string} name */
const now = (name) => stack.call(stack.owner, "GET", `/v1${repository}/environments/${name}`);

test("an environment is added, protected by rules, and only what has changed is sent", async () => {
  const name = unique("qa");
  const { email, id } = await stack.member("admin");
  const owner = await signedIn();
  const box = (/** @type {string} */ group, /** @type {string} */ label) =>
    owner.page.getByRole("group", { name: group }).getByRole("checkbox", { name: label });
  const sends = async () => {
    const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PATCH"),
        owner.button("Save").click()]);
    return sent.postDataJSON();
  };
  await owner.open(repository);
  await owner.button("Add environment").click();
  await owner.field("Name").fill("Not/a name");
  await owner.dialog().getByRole("button", { name: "Add environment" }).click();
  await owner.dialog().locator("[name=name][aria-invalid=true]").waitFor();
  await owner.field("Name").fill(name);
  await owner.dialog().getByRole("button", { name: "Add environment" }).click();
  await owner.page.waitForURL(`**${repository}/environments/${name}`);

  const rule = owner.page.getByRole("group", { name: "Window 1" });
  await owner.field("Image").fill("node:22");
  await owner.button("Save").click();
  await owner.page.locator("[name=image][aria-invalid=true]").waitFor();
  await owner.field("Image").fill("aws/codebuild/standard:7.0");
  await owner.field("Size").selectOption("SMALL");
  await owner.field("Privileged").selectOption("Off");
  await owner.field("Root folder").fill("apps/web");
  await owner.field("Cache").selectOption("Off");
  await owner.field("Required approvals").fill("1");
  await box("Reviewers", email).check();
  await owner.field("Time for approvals in hours").fill("24");
  await owner.field("Branches and tags").fill("main tags/v*");
  await box("Required environments", "staging").check();
  await owner.field("Wait in minutes").fill("10");
  await owner.button("Add window").click();
  await rule.getByLabel("Begins").fill("every Friday");
  await rule.getByLabel("Hours").fill("60");
  await rule.getByLabel("Reason").fill("Weekend");
  await rule.getByLabel("Time zone").fill("Europe/Berlin");
  await owner.button("Save").click();
  await owner.page.locator("[name='freeze_windows[0].cron'][aria-invalid=true]").waitFor();
  await rule.getByLabel("Begins").fill("0 18 * * FRI");
  assert.deepEqual(await sends(), {
    required_approvals: 1, approval_timeout_seconds: 86_400, wait_seconds: 600, reviewers: { users: [id], teams: [] },
    image: "aws/codebuild/standard:7.0", compute_type: "BUILD_GENERAL1_SMALL", privileged: false, root_folder: "apps/web", cache: false,
    refs: ["main", "tags/v*"], requires: ["staging"],
    freeze_windows: [{ cron: "0 18 * * FRI", duration_seconds: 216_000, time_zone: "Europe/Berlin", reason: "Weekend" }],
  });
  await owner.says("Saved the settings.");
  await owner.button("Save").click();
  await owner.says("Nothing has changed.");

  await owner.open(`${repository}/environments/${name}`);
  assert.ok(await box("Reviewers", email).isChecked());
  await owner.button("Save").click();
  await owner.says("Nothing has changed.");
  for (const label of ["Wait in minutes", "Time for approvals in hours"]) await owner.field(label).fill("");
  await owner.field("Root folder").fill("");
  await owner.field("Cache").selectOption("The repository’s setting");
  for (const label of ["Size", "Privileged"]) await owner.field(label).selectOption("The repository’s");
  await box("Reviewers", email).uncheck();
  await owner.button("Remove window 1").click();
  assert.deepEqual(await sends(), { approval_timeout_seconds: null, wait_seconds: null, compute_type: null,
    privileged: null, root_folder: null, cache: null, reviewers: null,
    freeze_windows: [] });
  await owner.says("Saved the settings.");
  assert.equal(await owner.field("Wait in minutes").inputValue(), "0", "an empty field resets it");
  assert.equal(await owner.field("Time for approvals in hours").inputValue(), "168");
  assert.deepEqual((await now(name)).refs, ["main", "tags/v*"]);

  await owner.open(repository);
  await owner.field("Environment").selectOption(name);
  await owner.says("No deployment matches.");
  assert.equal(await owner.button("Delete staging").count(), 0, "what each repository has stays");
  await owner.button(`Delete ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Delete" }).click();
  await owner.says(`Deleted ${name}.`);
  await owner.button(`Delete ${name}`).waitFor({ state: "detached" });
  await assert.rejects(now(name), { code: "not_found" });
  await owner.close();
});

test("an open freeze window is shown with its end", async () => {
  const name = unique("frozen");
  const begun = new Date(Date.now() - 60_000);
  await stack.call(stack.owner, "POST", `/v1${repository}/environments`, { name });
  const { frozen_until: until } = await stack.call(stack.owner, "PATCH", `/v1${repository}/environments/${name}`, { freeze_windows: [
      { cron: `${begun.getUTCMinutes()} ${begun.getUTCHours()} * * *`, duration_seconds: 82_800 }] });
  const owner = await signedIn();
  await owner.open(repository);
  const card = owner.page.getByRole("list", { name: "Environments" }).getByRole("listitem").filter({ hasText: name });
  await card.getByText("Frozen", { exact: true }).waitFor();
  assert.equal(await card.getByText(/^ends in \d+ hours$/).locator("time").getAttribute("datetime"), until);
  await owner.open(`${repository}/environments/${name}`);
  await owner.says(/A window is open, and ends in \d+ hours\./);
  await stack.call(stack.owner, "DELETE", `/v1${repository}/environments/${name}`);
  await owner.close();
});

test("a member of a pattern that does not exist yet is typed in the deploy form", async () => {
  const start = unique("review");
  const member = `${start}-1`;
  await stack.call(stack.owner, "POST", `/v1${repository}/environments`, { name: `${start}-*` });
  const owner = await signedIn();
  await owner.open(`${repository}/deploy`);
  await owner.field("Or a new member of a pattern").fill(`other-${member}`);
  await owner.says(/'other-.*' is none of/);
  await owner.field("Or a new member of a pattern").fill(member);
  await owner.says("The deployment starts at once.");
  await owner.button(`Deploy to ${member}`).click();
  await owner.page.waitForURL("**/deployments/deploy_*");
  assert.equal((await now(member)).pattern, `${start}-*`);
  // A link names a member that does not exist.
  await owner.open(`${repository}/deploy?environment=${start}-2`);
  assert.equal(await owner.field("Or a new member of a pattern").inputValue(), `${start}-2`);
  await owner.button(`Deploy to ${start}-2`).waitFor();
  await owner.close();
});

test("more than a hundred environments are all shown", async () => {
  const name = unique("wide");
  const { clone_url: url } = await stack.call(stack.owner, "GET", `/v1${repository}`);
  await stack.call(stack.owner, "POST", "/v1/repositories", { name, clone_url: url, default_branch: "main" });
  for (let number = 0; number < 100; number++) {
    const body = { name: `e${String(number).padStart(3, "0")}` };
    await stack.call(stack.owner, "POST", `/v1/repositories/${name}/environments`, body);
  }
  const owner = await signedIn();
  await owner.open(`/repositories/${name}`);
  const second = owner.page.getByRole("list", { name: "Environments, page 2" });
  await second.getByRole("heading", { name: "e099" }).waitFor();
  assert.equal(await owner.page.locator(".cards > li").count(), 103);
  await owner.field("Environment").selectOption("e099");
  await owner.open(`/repositories/${name}/deploy?environment=e099`);
  assert.ok(await owner.page.getByRole("radio", { name: "e099" }).isChecked());
  await owner.close();
});

test("a pattern has members, and no variables", async () => {
  const name = `${unique("review")}-*`;
  const owner = await signedIn();
  await owner.open(repository);
  await owner.button("Add environment").click();
  await owner.field("Name").fill(name);
  await owner.field("Days without a deployment").fill("14");
  await owner.dialog().getByRole("button", { name: "Add environment" }).click();
  await owner.says(`Settings of ${name}`);
  await owner.settled();
  assert.equal(await owner.button("Add variable").getAttribute("aria-description"),
    "Each member of a pattern has variables of its own.");
  await owner.field("Days without a deployment").fill("21");
  await owner.button("Save").click();
  await owner.says("Saved the settings.");
  await owner.open(repository);
  await owner.page.getByRole("listitem").filter({ hasText: name }).getByText("Removed 21 days after the last deployment.").waitFor();
  await owner.button(`Delete ${name}`).click();
  await owner.dialog().getByRole("button", { name: "Delete" }).click();
  await owner.says(`Deleted ${name}.`);
  await owner.close();
});

test("who may not change a repository sees its rules and why they stay as they are", async () => {
  const member = await signedIn((await stack.member()).token);
  await member.open(repository);
  assert.match(`${await member.button("Add environment").getAttribute("aria-description")}`, /^You need the permission “admin”/);
  await member.open(`${repository}/environments/staging`);
  assert.match(`${await member.button("Save").getAttribute("aria-description")}`, /^You need the permission “admin”/);
  await member.close();
});

test("a deployment waits for the timer, and an admin overrides the rules with a reason", async () => {
  const name = unique("timed");
  await stack.call(stack.owner, "POST", `/v1${repository}/environments`, { name });
  await stack.call(stack.owner, "PATCH", `/v1${repository}/environments/${name}`, { wait_seconds: 7200 });
  const waiting = await stack.deploy({ ref: "main", environment: name }, ["queued"]);
  const owner = await signedIn();
  await owner.open(`/deployments/${waiting.id}`);
  await owner.says(/Waits for the wait timer, which ends in \d hours?/);

  // The freeze ends after the wait. Of the two, the later one is told.
  const begun = new Date(Date.now() - 60_000);
  await stack.call(stack.owner, "PATCH", `/v1${repository}/environments/${name}`, { freeze_windows: [
      { cron: `${begun.getUTCMinutes()} ${begun.getUTCHours()} * * *`, duration_seconds: 82_800, reason: "Stocktaking" }] });
  await owner.page.reload();
  await owner.says(/Waits because the environment is frozen, which ends .*: Stocktaking/);
  await owner.open(`${repository}/deploy?environment=${name}`);
  await owner.says("The deployment would be refused.");
  await owner.field("Reason to override the rules").fill("Hotfix for the outage");
  await owner.says("The deployment overrides this rule");
  const [sent] = await Promise.all([
    owner.page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/deployments")),
    owner.button(`Deploy to ${name}`).click()]);
  assert.deepEqual(sent.postDataJSON().override, { reason: "Hotfix for the outage" });
  await owner.says("Overrides the rules of the environment");
  await owner.says("Hotfix for the outage");
  await owner.becomes("Succeeded");

  const member = await signedIn((await stack.member()).token);
  await member.open(`${repository}/deploy?environment=${name}`);
  assert.equal(await member.field("Reason to override the rules").count(), 0);
  await member.close();
  await owner.close();
});
