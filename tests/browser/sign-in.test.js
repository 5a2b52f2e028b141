// Both ways to sign in, the way into an account, and a sign-in that has to be renewed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signedIn, stack, visitor } from "./scene.js";
import { unique } from "./stack.js";

test("a pasted token signs in, goes on where one wanted to go, and leaves no trace in the browser", async () => {
  const owner = await visitor();
  await owner.page.goto("/settings/members");
  await owner.page.getByRole("heading", { name: "Sign in" }).waitFor();
  await owner.field("Personal access token").fill("dgp_nonsense");
  await owner.button("Sign in with a token").click();
  await owner.page.getByRole("alert").filter({ hasText: "token" }).waitFor();
  await owner.field("Personal access token").fill(stack.owner);
  await owner.button("Sign in with a token").click();
  await owner.page.getByRole("heading", { name: "Members" }).waitFor();
  const [cookie, ...others] = await owner.context.cookies();
  assert.deepEqual(others, []);
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path],
    ["__Host-session", true, true, "Strict", "/"]);
  const kept = await owner.page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  assert.doesNotMatch(kept, /dgp_|dgs_/);
  await owner.close();
});

test("a link with a token posts it once and removes it from the address", async () => {
  const owner = await visitor();
  /** @type {string[]} */
  const posts = [];
  owner.page.on("request", (request) => request.url().endsWith("/v1/session") && posts.push(request.method()));
  await owner.signIn(stack.owner);
  assert.deepEqual(posts, ["POST"]);
  await owner.page.goBack().catch(() => null);
  assert.doesNotMatch(owner.page.url(), /dgp_/);
  await owner.close();
});

/** Signs in at the issuer as one of its users.
 * @param {Awaited<ReturnType<typeof visitor>>} one
 * @param {string} email */
async function atIssuer(one, email) {
  await one.page.goto("/sign-in");
  await one.button("Sign in with your identity provider").click();
  await one.page.waitForURL((url) => url.origin !== stack.url);
  const asked = new URL(one.page.url()).searchParams;
  assert.deepEqual([asked.get("response_type"), asked.get("code_challenge_method")], ["code", "S256"]);
  assert.match(`${asked.get("code_challenge")}`, /^[\w-]{43}$/);
  await one.button(new RegExp(email)).click();
}

test("a newcomer signs in at the identity provider and joins the account of their address", async () => {
  const ada = await visitor();
  await atIssuer(ada, "ada@example.com");
  await ada.page.getByRole("heading", { name: "Join an account" }).waitFor();
  await ada.button("Join demo").click();
  await ada.page.getByRole("heading", { name: "Overview" }).waitFor();
  await ada.says("ada@example.com");
  assert.doesNotMatch(ada.page.url(), /code|state/);
  await ada.close();
});

test("whoever nobody invited is told what to do, and an invitation then lets them in", async () => {
  const eve = await visitor();
  await atIssuer(eve, "eve@elsewhere.example");
  await eve.says("No invitation yet");
  await stack.call(stack.owner, "POST", "/v1/invitations", { email: "eve@elsewhere.example" });
  await eve.button("Look again").click();
  await eve.button(/^Join /).click();
  await eve.page.getByRole("heading", { name: "Overview" }).waitFor();
  await eve.close();
});

test("an answer with a state that this tab did not send is refused", async () => {
  const owner = await visitor();
  let posted = false;
  owner.page.on("request", (request) => (posted ||= request.url().endsWith("/v1/session")));
  await owner.page.goto("/sign-in?code=stolen&state=forged");
  await owner.says(/started in another tab/);
  assert.equal(posted, false);
  assert.equal(new URL(owner.page.url()).search, "");
  await owner.page.goto("/sign-in?error=access_denied&error_description=No%20thanks");
  await owner.says("No thanks");
  await owner.close();
});

/** Refuses the next creation or change of a token as the API does for an old session, and returns how many were sent.
 * @param {import("playwright-core").Page} page */
async function refuseOnce(page) {
  let sent = 0;
  await page.route("**/v1/tokens{,/**}", async (route) => {
    if (route.request().method() === "GET" || sent++) return route.continue();
    const error = { code: "sign_in_again", message: "Sign in again to change tokens", request_id: "req_aaaaaaaaaaaaaaaa" };
    await route.fulfill({ status: 403, contentType: "application/json", body: JSON.stringify({ error }) });
  });
  return () => sent;
}

test("a change that needs a fresh sign-in asks for it and is then made", async () => {
  const owner = await signedIn();
  const sent = await refuseOnce(owner.page);
  await owner.open("/settings/api/tokens/new");
  await owner.field("Name").fill(unique("fresh"));
  await owner.button("Create token").click();
  await owner.dialog().getByRole("heading", { name: "Sign in again" }).waitFor();
  await owner.field("Personal access token").fill(stack.owner);
  await owner.button("Sign in with a token").click();
  await owner.dialog().locator(".secret").waitFor();
  assert.equal(sent(), 2);
  await owner.close();
});

test("a token’s edit that needs a fresh sign-in keeps what one typed", async () => {
  const [before, after] = [unique("old"), unique("new")];
  await stack.call(stack.owner, "POST", "/v1/tokens", { name: before, scopes: ["repositories:read"] });
  const owner = await signedIn();
  const sent = await refuseOnce(owner.page);
  await owner.open("/settings/api/tokens");
  await owner.button(`Edit ${before}`).click();
  await owner.field("Name").fill(after);
  await owner.button("Save").click();
  const again = owner.page.getByRole("dialog", { name: "Sign in again" });
  await again.getByLabel("Personal access token").fill(stack.owner);
  await again.getByRole("button", { name: "Sign in with a token" }).click();
  await owner.button(`Edit ${after}`).waitFor();
  assert.equal(sent(), 2);
  await owner.close();
});

test("a fresh sign-in at the identity provider happens in another tab, and the form keeps what it has", async () => {
  const ada = await visitor();
  await atIssuer(ada, "ada@example.com");
  await ada.page.getByRole("heading", { name: "Overview" }).waitFor();
  const sent = await refuseOnce(ada.page);
  await ada.open("/settings/api/tokens/new");
  await ada.field("Name").fill(unique("fresh"));
  await ada.button("Create token").click();
  await ada.dialog().waitFor();
  const opened = ada.context.waitForEvent("page");
  await ada.button("Sign in with your identity provider").click();
  const tab = await opened;
  await tab.getByRole("button", { name: "Sign in with your identity provider" }).click();
  await tab.getByRole("button", { name: /ada@example.com/ }).click();
  await ada.dialog().locator(".secret").waitFor();
  assert.equal(sent(), 2);
  assert.ok(tab.isClosed() || (await tab.getByText("You are signed in").isVisible()));
  await ada.close();
});
