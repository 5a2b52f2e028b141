// Deploys, watches, approves, cancels, retries and rolls back, as an owner and a second person.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";
import { unique } from "./stack.js";

test("an owner deploys a branch and watches its log to the end", async () => {
  const owner = await signedIn();
  await owner.link("Repositories").click();
  await owner.link(stack.repository).click();
  await owner.link("Deploy").first().click();
  await owner.field("Ref").fill("paced");
  await owner.says("The deployment starts at once.");
  await owner.says("The ref exists");
  await owner.button("Deploy to preview").click();
  await owner.becomes("In progress");
  await owner.says("step 3");
  const lines = owner.page.getByRole("log");
  const atEnd = () => lines.evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop < 8);
  assert.equal(await owner.button("Follow").getAttribute("aria-pressed"), "true");
  assert.ok(await atEnd(), "the log follows");

  await lines.hover();
  await owner.page.mouse.wheel(0, -400);
  await owner.page.locator("button[aria-pressed=false]", { hasText: "Follow" }).waitFor();
  const place = await lines.evaluate((element) => element.scrollTop);
  await owner.becomes("Succeeded");
  assert.equal(await lines.evaluate((element) => element.scrollTop), place, "whoever scrolled up stays there");
  await lines.evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await owner.says("published");
  await owner.page.getByText("all phases succeeded").waitFor();
  await owner.close();
});

test("the phases of a build by CodeBuild are folded", async () => {
  const { id } = await stack.deploy({ ref: "main" });
  const owner = await signedIn();
  const texts = [["system", "Starting a build in AWS CodeBuild"], ["system", "[Container] 2026/01/01 12:00:00.123456 Waiting for agent ping"],
    ["system", "[Container] 2026/01/01 12:00:01.5 Entering phase INSTALL"], ["stdout", "Entering phase PRE_BUILD"],
    ["system", "[Container] 2026/01/01 12:00:02 Phase complete: INSTALL State: SUCCEEDED"],
    ["system", "[Container] 2026/01/01 12:00:02 Phase context status code:  Message: "],
    ["system", "[Container] 2026/01/01 12:00:03 Entering phase BUILD"], ["stdout", "refused"],
    ["system", "[Container] 2026/01/01 12:00:04 Phase complete: BUILD State: FAILED"]];
  const data = texts.map(([stream, text], at) => ({ number: at + 1, at: `2026-01-01T12:00:0${at}Z`, stream, text }));
  await owner.page.route(`**/v1/deployments/${id}/log?*`, (route) =>
    route.fulfill({ json: { data, meta: { next_after: data.length, complete: true } } }));
  await owner.open(`/deployments/${id}`);
  const heads = owner.page.locator(".phase-head");
  await heads.filter({ hasText: "build" }).first().waitFor();
  const titles = await heads.locator("> span:not(.facts-inline)").allInnerTexts();
  assert.deepEqual(titles, ["preparation", "install", "build"]);
  assert.match(await heads.nth(1).innerText(), /4 lines/);
  assert.match(await heads.nth(2).innerText(), /3 lines.*failed/s);
  await heads.nth(1).click();
  assert.equal(await heads.nth(1).getAttribute("aria-expanded"), "false");
  await owner.close();
});

test("a log is searched, folded, linked and saved", async () => {
  const { id } = await stack.deploy({ ref: "main" });
  const owner = await signedIn();
  await owner.open(`/deployments/${id}`);
  await owner.field("Find in the log").fill("package 250");
  await owner.says("1 of 1 lines");
  const hit = owner.page.locator(".log-line.target");
  assert.match(await hit.innerText(), /installed package 250/);
  assert.equal(await hit.locator("mark").innerText(), "package 250");

  await owner.button(/^install/).click();
  await hit.waitFor({ state: "hidden" });
  await owner.button(/^install/).click();
  await hit.waitFor();

  await hit.getByRole("link").click();
  const link = owner.page.url();
  assert.match(link, /#L\d+$/);
  const other = await signedIn();
  await other.page.goto(link);
  await other.page.locator(".log-line.target", { hasText: "installed package 250" }).waitFor();
  assert.ok(await other.page.locator(".target").evaluate((element) =>
      element.getBoundingClientRect().bottom < innerHeight), "the line is in view");

  const [download] = await Promise.all([owner.page.waitForEvent("download"), owner.link("Download").click()]);
  const saved = readFileSync(await download.path(), "utf8");
  assert.match(saved, /^installed package 1\n[^]*^installed package 300\n[^]*^published$/m);
  await owner.close();
  await other.close();
});

test("what fails says why, and is retried", async () => {
  const { id } = await stack.deploy({ ref: "broken", environment: "staging" });
  const owner = await signedIn();
  await owner.page.getByRole("list", { name: "Failing" }).getByText(stack.repository).waitFor();
  await owner.open(`/deployments/${id}`);
  await owner.says("command failed");
  await owner.says(/exited with status 3/);
  await owner.button("Retry").click();
  await owner.dialog().getByRole("checkbox", { name: "With the current stored variables" }).check();
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.url().includes("/retry")),
    owner.dialog().getByRole("button", { name: "Retry" }).click()]);
  assert.match(sent.url(), /stored_variables=current$/);
  await owner.says("Retries");
  await owner.becomes("Failed");
  assert.notEqual(new URL(owner.page.url()).pathname, `/deployments/${id}`);
  await owner.close();
});

test("a running deployment is canceled, and a waiting one tells its place", async () => {
  const running = await stack.deploy({ ref: "slow", environment: "staging" }, ["in_progress"]);
  const waiting = await stack.deploy({ ref: "main", environment: "staging" }, ["queued"]);
  const owner = await signedIn();
  await owner.open(`/deployments/${waiting.id}`);
  await owner.says("Waits for");
  await owner.link("the deployment ahead").click();
  await owner.becomes("In progress");
  assert.ok(owner.page.url().endsWith(running.id));
  await owner.button("Cancel").click();
  await owner.dialog().getByText("What its commands have already changed stays changed.").waitFor();
  await owner.button("Cancel the deployment").click();
  await owner.becomes("Canceled");
  await owner.open(`/deployments/${waiting.id}`);
  await owner.becomes("Succeeded");
  await owner.close();
});

test("production is approved by a second person and rolled back", async () => {
  const owner = await signedIn();
  await stack.deploy({ ref: "main", environment: "production" });
  await owner.open(`/repositories/${stack.repository}/environments/production`);
  await owner.field("Required approvals").fill("1");
  await owner.button("Save").click();
  await owner.says("Saved the settings.");

  stack.commit();
  await owner.open(`/repositories/${stack.repository}/deploy?environment=production`);
  await owner.button("Add variable").click();
  await owner.field("Name of variable 1").fill("GREETING");
  await owner.field("Value of variable 1").fill("good morning");
  await owner.says("The deployment is created and waits.");
  await owner.button("Deploy to production").click();
  await owner.becomes("Needs approval");
  await owner.page.getByRole("button", { name: "Approve" }).and(owner.page.locator("[aria-disabled=true]")).waitFor();
  assert.match(`${await owner.button("Approve").getAttribute("aria-description")}`, /somebody else has to approve/);

  const { token, email } = await stack.member("admin");
  const second = await signedIn(token);
  await second.page.getByRole("list", { name: "Waiting for me" }).getByRole("link").first().click();
  await second.says("GREETING");
  assert.equal(await second.page.getByText("good morning").count(), 0);
  await second.button("Approve").click();
  assert.match(await second.dialog().locator("p").innerText(), /^You approve commit [0-9a-f]{7} for production, with .* covers\.$/);
  await second.dialog().getByRole("button", { name: "Approve" }).click();
  await second.becomes("Succeeded");
  await second.says("1 of 1");
  await owner.becomes("Succeeded");
  await owner.page.locator(".facts").getByText(email.split("@")[0]).waitFor();

  await owner.open(`/repositories/${stack.repository}/environments/production`);
  await owner.field("Required approvals").fill("0");
  await owner.button("Save").click();
  await owner.says("Saved the settings.");
  await owner.open(`/repositories/${stack.repository}`);
  await owner.page.getByRole("list", { name: "Environments" }).getByRole("button",
    { name: "Roll back" }).last().click();
  await owner.dialog().getByText("repeats").waitFor();
  await owner.field("Reason to override the rules").fill("The site is down");
  await owner.dialog().getByRole("button", { name: "Roll back" }).click();
  await owner.says("Rolls back to");
  await owner.says("The site is down");
  await owner.becomes("Succeeded");
  await owner.close();
  await second.close();
});

test("a deployment is rejected with a reason", async () => {
  await stack.call(stack.owner, "PATCH", `/v1/repositories/${stack.repository}/environments/production`,
    { required_approvals: 2 });
  const { token } = await stack.member("admin");
  const one = await stack.deploy({ ref: "main", environment: "production" }, ["queued"], token);
  const owner = await signedIn();
  await owner.open(`/deployments/${one.id}`);
  await owner.says("Waits for 2 approvals");
  await owner.button("Reject").click();
  await owner.field("Reason").fill("Not before the launch");
  await owner.dialog().getByRole("button", { name: "Reject" }).click();
  await owner.becomes("Failed");
  await owner.says(/Not before the launch/);
  await owner.close();
});

test("a plan's bounds show on the account, and on the deployment that waits for them", async () => {
  const { name } = await stack.call(stack.starter, "POST", "/v1/repositories", { name: unique("app"), clone_url: stack.folder });
  const deploy = (/** @type {object} */ body) =>
    stack.call(stack.starter, "POST", `/v1/repositories/${name}/deployments`, body);
  const person = await signedIn(stack.starter);
  await person.open("/settings/account");
  const shown = async (/** @type {string} */ label) => {
    const meter = person.page.getByRole("meter", { name: label });
    await meter.waitFor();
    return [await meter.getAttribute("value"), await meter.getAttribute("max")];
  };
  assert.deepEqual(await shown("Deployments in progress"), ["0", "1"]);
  assert.deepEqual(await shown("Build minutes in this month"), ["0", "2000"]);

  const running = await deploy({ ref: "slow", environment: "preview" });
  await person.open(`/deployments/${running.id}`);
  await person.becomes("In progress");
  const waiting = await deploy({ ref: "main", environment: "staging" });
  await person.open(`/deployments/${waiting.id}`);
  await person.page.getByText("Waits for capacity, as number 1 of the account").waitFor();
  await person.open("/settings/account");
  assert.deepEqual(await shown("Deployments in progress"), ["1", "1"]);
  await person.open(`/repositories/${name}/deploy?environment=production`);
  await person.says("The deployment is created and waits.");
  await person.page.getByRole("listitem").filter({ hasText: "Waits: Capacity" })
    .getByText("1 of 1 deployments that the account may run at once are in progress").waitFor();
  assert.equal(await person.button("Deploy to production").getAttribute("aria-disabled"), null);
  await stack.call(stack.starter, "POST", `/v1/deployments/${running.id}/cancel`);
  await person.open(`/deployments/${waiting.id}`);
  await person.becomes("Succeeded");
  await person.close();
});

test("an account without build minutes is told so before it deploys, and when it does", async () => {
  const message = "The account has used its 2000 build minutes of this month; the next month begins at 2027-01-01T00:00:00Z";
  const person = await signedIn();
  let isKnown = true;
  await person.page.route("**/deployments/preflight", async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    for (const gate of json.gates) {
      if (isKnown && gate.gate === "minutes") Object.assign(gate, { passes: false, message, until: "2027-01-01T00:00:00Z" });
    }
    await route.fulfill({ response, json: { ...json, outcome: isKnown ? "refused" : json.outcome } });
  });
  await person.open(`/repositories/${stack.repository}/deploy`);
  await person.says("The deployment would be refused.");
  await person.page.getByRole("listitem").filter({ hasText: "Not met: Build minutes" }).getByText(message).waitFor();
  assert.equal(await person.button("Deploy to preview").getAttribute("aria-disabled"), "true");

  // The last minutes are used up between the look and the request.
  isKnown = false;
  await person.page.route(`**/${stack.repository}/deployments`, (route) => route.fulfill({ status: 409,
      headers: { "Retry-After": "86400" }, json: { error: { code: "build_minutes_exhausted", message,
        request_id: "req_k3vyq2w7x5m4n6pa", doc_url: "/docs/errors/build_minutes_exhausted" } } }));
  await person.open(`/repositories/${stack.repository}/deploy`);
  await person.page.getByRole("listitem").filter({ hasText: "Met: Build minutes" }).waitFor();
  await person.button("Deploy to preview").click();
  await person.says(message);
  await person.close();
});

test("a deployment whose build has no machine waits for one, and tells when AWS is asked again", async () => {
  const running = await stack.deploy({ ref: "slow", environment: "staging" }, ["in_progress"]);
  const person = await signedIn();
  /** What the API would say with CodeBuild. @type {object} */
  let change = {};
  await person.page.route(`**/v1/deployments/${running.id}`, async (route) => {
    const found = await stack.call(stack.owner, "GET", `/v1/deployments/${running.id}`);
    await route.fulfill({ json: { ...found, ...change } });
  });
  const waits = (/** @type {string | null} */ until) => ({ position: 1, since: running.created_at, deadline: null,
    blocked_by: { kind: "capacity", deployment_id: null, position: null, until, reason: null } });
  change = { queue: waits(null) };
  await person.open(`/deployments/${running.id}`);
  await person.page.getByText("Waits for a machine", { exact: true }).waitFor();
  change = { status: "queued", queue: waits("2027-01-01T12:00:00Z") };
  await person.open(`/deployments/${running.id}`);
  await person.says(/Waits for a machine, and is tried again/);
  await person.page.unroute(`**/v1/deployments/${running.id}`);
  await stack.call(stack.owner, "POST", `/v1/deployments/${running.id}/cancel`);
  await person.open(`/deployments/${running.id}`);
  await person.becomes("Canceled");
  await person.close();
});

test("the overview tells apart what runs, what waits and why", async () => {
  const set = (/** @type {string} */ environment, /** @type {object} */ settings) =>
    stack.call(stack.owner, "PATCH", `/v1/repositories/${stack.repository}/environments/${environment}`, settings);
  await set("production", { required_approvals: 1 });
  const unapproved = await stack.deploy({ ref: "main", environment: "production" }, ["queued"]);
  const running = await stack.deploy({ ref: "slow", environment: "staging" }, ["in_progress"]);
  const behind = await stack.deploy({ ref: "main", environment: "staging" }, ["queued"]);
  const owner = await signedIn();
  const row = (/** @type {string} */ group, /** @type {{number: number}} */ { number }) =>
    owner.page.getByRole("list", { name: group, exact: true }).getByRole("listitem").filter({ has: owner.page.getByRole("link", { name: new RegExp(`#${number}$`) }) });
  await row("Running", running).waitFor();
  await row("Waiting", unapproved).getByText("Waits for one approval").waitFor();
  assert.equal(await row("Waiting", behind).getByRole("link",
      { name: "the deployment ahead" }).getAttribute("href"), `/deployments/${running.id}`);
  assert.equal(await owner.page.getByRole("list", { name: "Running", exact: true }).getByRole("listitem").count(), 1);

  await set("staging", { frozen: true });
  await row("Waiting", behind).getByText("the environment is frozen").waitFor();
  await stack.call(stack.owner, "POST", `/v1/deployments/${running.id}/cancel`);
  await row("Running", running).waitFor({ state: "detached" });
  await set("staging", { frozen: false });
  await row("Recent", behind).waitFor({ timeout: 60_000 });

  const second = await signedIn((await stack.member("admin")).token);
  const mine = second.page.getByRole("list", { name: "Waiting for me" });
  await mine.getByRole("link", { name: new RegExp(`#${unapproved.number}$`) }).waitFor();
  assert.equal(await second.page.getByRole("list", { name: "Waiting", exact: true }).count(), 0, "it is in one group only");
  await stack.call(stack.owner, "POST", `/v1/deployments/${unapproved.id}/cancel`);
  await set("production", { required_approvals: 0 });
  await mine.waitFor({ state: "detached" });
  await owner.close();
  await second.close();
});

test("the overview says that it looks at the newest deployments", async () => {
  await stack.deploy({ ref: "main" });
  const owner = await signedIn();
  assert.equal(await owner.page.getByText("the newest 100 deployments").count(), 0);
  const body = await stack.call(stack.owner, "GET", "/v1/deployments?per_page=1");
  const data = Array.from({ length: 100 }, (_, at) => ({ ...body.data[0], id: `deploy_${at}` }));
  await owner.page.route("**/v1/deployments?per_page=100", (route) => route.fulfill({ json: { ...body, data } }));
  await owner.open("/");
  await owner.says("the newest 100 deployments");
  await owner.close();
});

test("a frozen environment refuses, and a member without the permission is told so", async () => {
  await stack.call(stack.owner, "PATCH", `/v1/repositories/${stack.repository}/environments/staging`, { frozen: true });
  const owner = await signedIn();
  await owner.open(`/repositories/${stack.repository}/deploy?environment=staging`);
  await owner.says("The deployment would be refused.");
  assert.equal(await owner.button("Deploy to staging").getAttribute("aria-disabled"), "true");
  await owner.open(`/repositories/${stack.repository}`);
  await owner.page.getByText("Frozen", { exact: true }).waitFor();

  const { token } = await stack.member();
  const member = await signedIn(token);
  /** @type {string[]} */
  const asked = [];
  member.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await member.open(`/repositories/${stack.repository}`);
  const deploy = member.button("Deploy").first();
  assert.equal(await deploy.getAttribute("aria-disabled"), "true");
  await deploy.focus();
  await member.page.locator(".tip:visible", { hasText: "You need the permission “deploy”" }).waitFor();
  assert.ok(!asked.some((path) => /^\/v1\/(teams|account)/.test(path)), `the repository tells the permission: ${asked}`);
  const { data: [last] } = await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}/deployments?status=succeeded`);
  await member.open(`/deployments/${last.id}`);
  for (const name of ["Roll back to this", "Retry"]) {
    const refused = member.button(name).and(member.page.locator("[aria-disabled=true]"));
    assert.match(`${await refused.getAttribute("aria-description")}`, /You need the permission “deploy”/);
  }
  await member.open(`/repositories/${stack.repository}/deploy`);
  await member.field("Ref").fill("paced");
  await member.page.getByRole("radio", { name: "staging" }).check();
  await member.page.waitForTimeout(1000);
  assert.equal(await member.button("Deploy to staging").getAttribute("aria-disabled"), "true");
  await member.open("/audit");
  await member.says("You can’t see this");
  await owner.close();
  await member.close();
});

test("the list of deployments is narrowed by status, by environment and to one’s own", async () => {
  const [built, broken] = [await stack.deploy({ ref: "main" }), await stack.deploy({ ref: "broken" })];
  const second = await signedIn((await stack.member("admin")).token);
  await second.open("/deployments");
  const row = (/** @type {{number: number}} */ { number }) =>
    second.page.getByRole("listitem").filter({ has: second.page.getByRole("link", { name: `${stack.repository} #${number}`, exact: true }) });
  await row(built).waitFor();
  await second.field("Status").selectOption("Failed");
  await row(built).waitFor({ state: "detached" });
  await row(broken).waitFor();
  await second.field("Environment").fill("production");
  await second.field("Environment").press("Enter");
  await row(broken).waitFor({ state: "detached" });
  await second.open("/deployments?environment=preview");
  await row(built).waitFor();
  await second.field("Mine").check();
  await second.says("No deployment matches.");
  await second.field("Mine").uncheck();
  await row(built).waitFor();
  await second.field("Waiting for me").check();
  await second.says("No deployment matches.");
  assert.match(second.page.url(), /\?environment=preview&awaiting=me$/);

  await second.open(`/repositories/${stack.repository}`);
  const past = second.page.getByRole("list", { name: "History" }).getByRole("link", { name: `#${built.number}`, exact: true });
  await past.waitFor();
  await second.field("Mine").check();
  await second.says("No deployment matches.");
  assert.match(second.page.url(), /\?created_by=me$/);
  await second.field("Mine").uncheck();
  await past.waitFor();
  await second.field("Branch or tag").fill("broken");
  await second.field("Branch or tag").press("Enter");
  await past.waitFor({ state: "detached" });
  await second.field("Full SHA of a commit").fill(built.sha);
  await second.field("Full SHA of a commit").press("Enter");
  await second.says("No deployment matches.");
  await second.field("Branch or tag").fill("");
  await second.field("Branch or tag").press("Enter");
  await past.waitFor();
  assert.ok(second.page.url().endsWith(`?sha=${built.sha}`));
  await second.close();
});

test("a commit of a fork is told apart before and after it is deployed", async () => {
  const owner = await signedIn();
  await owner.open(`/repositories/${stack.repository}/deploy?ref=refs/pull/7/head`);
  await owner.says("no branch or tag has it");
  await owner.button("Deploy to preview").click();
  await owner.says("No branch or tag had this commit.");
  await owner.close();
});

test("a deployment is rolled back to from its own page, whose log folds and whose times are exact", async () => {
  const { id } = await stack.deploy({ ref: "main" });
  await stack.deploy({ ref: "main" });
  const owner = await signedIn();
  await owner.open(`/deployments/${id}`);
  const line = owner.page.locator(".log-line").first();
  await line.waitFor();
  await owner.button("Fold all").click();
  await line.waitFor({ state: "hidden" });
  await owner.button("Fold all").click();
  await line.waitFor();
  const time = owner.page.locator("time").first();
  assert.match(`${await time.getAttribute("title")}`, new RegExp(`${new Date().getUTCFullYear()}.*:\\d\\d:\\d\\d`));

  await owner.button("Roll back to this").click();
  await owner.dialog().getByText("repeats").waitFor();
  await owner.dialog().getByRole("button", { name: "Roll back" }).click();
  await owner.says("Rolls back to");
  assert.notEqual(new URL(owner.page.url()).pathname, `/deployments/${id}`);
  await owner.becomes("Succeeded");
  await owner.close();
});
