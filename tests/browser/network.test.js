// A slow network, a lost one, an answer that never comes, and a limit that is reached.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";

test("while the network is slow, the screen says that it loads", async () => {
  const owner = await signedIn();
  await owner.page.route("**/v1/**", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await route.continue();
  });
  await owner.page.goto("/repositories");
  await owner.page.getByRole("status").filter({ hasText: "Loading" }).waitFor();
  await owner.link(stack.repository).waitFor();
  await owner.close();
});

test("a button that is pressed twice on a slow network creates one deployment", async () => {
  const before = (await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}/deployments`)).meta.total;
  const owner = await signedIn();
  await owner.open(`/repositories/${stack.repository}/deploy`);
  await owner.says("The deployment starts at once.");
  await owner.page.route("**/deployments", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await route.continue();
  });
  await owner.button("Deploy to preview").dblclick();
  await owner.becomes("Succeeded");
  assert.equal((await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}/deployments`)).meta.total,
    before + 1);
  await owner.close();
});

test("a creation whose answer was lost is sent again and creates nothing a second time", async () => {
  const count = async () =>
    (await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}/deployments`)).meta.total;
  const before = await count();
  const owner = await signedIn();
  await owner.open(`/repositories/${stack.repository}/deploy`);
  await owner.says("The deployment starts at once.");
  let lost = 0;
  await owner.page.route("**/deployments", async (route) => {
    if (lost++) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await owner.button("Deploy to preview").click();
  await owner.page.getByRole("alert").filter({ hasText: "can’t be reached" }).or(owner.page.getByRole("alert").filter({ hasText: "can't be reached" })).waitFor();
  await owner.button("Deploy to preview").click();
  await owner.page.waitForURL(/\/deployments\//);
  assert.equal(await count(), before + 1);
  await owner.close();
});

test("a lost connection is told, and what was missed is caught up with", async () => {
  const owner = await signedIn();
  const { id } = await stack.deploy({ ref: "paced", environment: "staging" }, ["in_progress"]);
  await owner.open(`/deployments/${id}`);
  await owner.says("step 1");
  await owner.context.setOffline(true);
  await owner.says(/The connection is lost/);
  await owner.page.getByText("step 1", { exact: true }).waitFor({ state: "attached" });
  await owner.context.setOffline(false);
  await owner.becomes("Succeeded");
  await owner.page.getByText(/The connection is lost/).waitFor({ state: "hidden" });
  await owner.page.getByRole("log").evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await owner.says("published");
  await owner.close();
});

test("a screen that can’t be loaded offers another try, with the request’s ID", async () => {
  const owner = await signedIn();
  await owner.page.route("**/v1/repositories*",
    (route) => route.fulfill({ status: 500, contentType: "application/json",
        body: JSON.stringify({ error: { code: "internal_error", message: "Try again later",
              request_id: "req_bbbbbbbbbbbbbbbb" } }) }), { times: 1 });
  await owner.page.goto("/repositories");
  await owner.says("req_bbbbbbbbbbbbbbbb");
  await owner.button("Try again").click();
  await owner.link(stack.repository).waitFor();
  await owner.close();
});

test("a reached limit is waited out, and the page says so", async () => {
  const owner = await signedIn();
  await owner.page.route("**/v1/repositories*",
    (route) => route.fulfill({ status: 429, headers: { "Retry-After": "2" }, contentType: "application/json",
        body: JSON.stringify({ error: { code: "rate_limited", message: "Too many requests",
              request_id: "req_cccccccccccccccc" } }) }), { times: 1 });
  await owner.page.goto("/repositories");
  await owner.says(/The rate limit is reached\. Trying again in 2 s\./);
  await owner.link(stack.repository).waitFor();
  await owner.page.getByText(/The rate limit is reached/).waitFor({ state: "hidden" });
  await owner.close();
});

test("a gateway’s answer without our envelope is an error like any other", async () => {
  const owner = await signedIn();
  await owner.page.route("**/v1/members*",
    (route) => route.fulfill({ status: 503, headers: { "apigw-requestid": "abc123=" }, contentType: "application/json",
        body: `{"message":"Service Unavailable"}` }), { times: 1 });
  await owner.page.goto("/settings/members");
  await owner.says("Service Unavailable");
  await owner.says("abc123=");
  await owner.close();
});

test("an update changes only what changed", async () => {
  const owner = await signedIn();
  await owner.open(`/repositories/${stack.repository}`);
  await owner.page.locator(".card").first().waitFor();
  await owner.page.evaluate(() => {
    for (const card of document.querySelectorAll(".card")) Object.assign(card, { seen: true });
    /** @type {HTMLElement} */ (document.querySelector(".card a.button")).focus();
  });
  const tops = () => owner.page.locator(".card").evaluateAll((cards) =>
    cards.map((card) => card.getBoundingClientRect().top));
  const before = await tops();
  await stack.deploy({ ref: "main", environment: "production" });
  await owner.page.locator(".card").last().locator(".badge", { hasText: "Live" }).waitFor({ timeout: 30_000 });
  assert.ok(await owner.page.locator(".card").evaluateAll((cards) => cards.every((card) => "seen" in card)),
    "the cards are the same elements");
  assert.equal(await owner.page.evaluate(() => document.activeElement?.textContent), "Deploy", "the focus stayed");
  assert.deepEqual(await tops(), before);
  await owner.close();
});
