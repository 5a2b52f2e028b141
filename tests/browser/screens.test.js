// Every screen: without violations of WCAG in light and dark, at 320 px without scrolling sideways, and with hostile texts.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { excess, violations } from "./axe.js";
import { signedIn, stack, visitor } from "./scene.js";
import { HOSTILE, HOSTILE_REF, unique } from "./stack.js";

/** The paths of the screens, once there is something to see on them. @type {string[]} */
let paths;
/** How often each screen shows the hostile text, at least. @type {Record<string, number>} */
let hostile;
/** The path of a deployment whose log has the hostile text. @type {string} */
let withLog;

before(async () => {
  const { call, owner, repository } = stack;
  const done = await stack.deploy({ ref: "hostile", variables: { GREETING: { value: HOSTILE, secret: false } } });
  const built = await stack.deploy({ ref: "results", variables: { GREETING: { value: HOSTILE, secret: false } } });
  const failed = await stack.deploy({ ref: "broken", environment: "staging" });
  await call(owner, "PATCH", `/v1/repositories/${repository}/environments/production`, { required_approvals: 1 });
  const { token } = await stack.member("admin");
  const waiting = await stack.deploy({ ref: "main", environment: "production" }, ["queued"], token);
  await call(owner, "POST", "/v1/tokens", { name: HOSTILE, scopes: ["repositories:read"] });
  const team = await call(owner, "POST", "/v1/teams", { name: unique("Team"), description: HOSTILE });
  await call(owner, "PUT", `/v1/teams/${team.id}/repositories/${repository}`, { permission: "read" });
  for (const email of ["o'brien+&{}@example.com", "ada@example.com"]) await call(owner, "POST", "/v1/invitations", { email });
  const webhook = await call(owner, "POST", "/v1/webhooks", { name: HOSTILE, url: "http://127.0.0.1:9/in", events: ["team.*"] });
  await call(owner, "POST", `/v1/webhooks/${webhook.id}/test`);
  await call(owner, "POST", "/v1/trusts",
    { name: HOSTILE, issuer: "https://token.actions.githubusercontent.com", audience: "https://api.git.dev", claims: { repository: "acme/web" },
      scopes: ["repositories:read"] });
  await call(owner, "POST", "/v1/connections",
    { name: HOSTILE, kind: "basic", host: "git.example.com", username: HOSTILE, password: "secret" });
  for (const place of ["account", `repositories/${repository}`, `repositories/${repository}/environments/production`]) {
    await call(owner, "PUT", `/v1/${place}/variables/GREETING`, { value: HOSTILE });
    await call(owner, "PUT", `/v1/${place}/variables/PASSWORD`, { value: "hidden", secret: true });
  }
  await call(owner, "PATCH", `/v1/repositories/${repository}`, { deploy_rules: [
      { refs: ["hostile"], environment: "preview", paths: ["src/**"] }, { refs: ["tags/*"], environment: "staging" }] });
  const hook = await call(owner, "POST", `/v1/repositories/${repository}/hooks`, { provider: "deploy", ref: HOSTILE });
  await fetch(hook.url, { method: "POST" });
  const rejected = await stack.deploy({ ref: "main", environment: "production" }, ["queued"], token);
  await call(owner, "POST", `/v1/deployments/${rejected.id}/reject`, { reason: HOSTILE });
  const client = await stack.machine();
  await call(owner, "DELETE", `/v1/applications/${client.id}`);
  await call(owner, "POST", "/v1/applications",
    { name: HOSTILE, client_id: client.id, access_token: client.token, scopes: ["repositories:read"] });
  await call(owner, "POST", `/v1/repositories/${repository}/environments`, { name: "qa" });
  const qa = (/** @type {object} */ settings) => call(owner, "PATCH", `/v1/repositories/${repository}/environments/qa`, settings);
  await qa({ wait_seconds: 7200 });
  const frozen = await stack.deploy({ ref: HOSTILE_REF, environment: "qa" }, ["queued"]);
  const begun = new Date(Date.now() - 60_000);
  await qa({ freeze_windows: [
    { cron: `${begun.getUTCMinutes()} ${begun.getUTCHours()} * * *`, duration_seconds: 82_800, reason: HOSTILE }] });
  const overridden = await stack.deploy({ ref: "main", environment: "qa", override: { reason: HOSTILE } },
    ["queued", "in_progress", "succeeded"]);
  const running = await stack.deploy({ ref: "held", environment: "staging" }, ["in_progress"]);
  paths = [
    "/", "/repositories", `/repositories/${repository}`, `/repositories/${repository}/deploy`,
      `/repositories/${repository}/environments/production`, `/repositories/${repository}/settings`,
      `/repositories/${repository}/hooks`, "/settings/connections", "/settings/webhooks",
    "/deployments", `/deployments/${done.id}`, `/deployments/${built.id}`, `/deployments/${failed.id}`, `/deployments/${waiting.id}`,
      `/deployments/${rejected.id}`, `/deployments/${running.id}`, `/deployments/${frozen.id}`, `/deployments/${overridden.id}`, "/audit",
    "/settings/account", "/settings/members", "/settings/variables", "/settings/teams", `/settings/teams/${team.id}`, "/settings/sessions",
    "/settings/api/tokens", "/settings/api/tokens/new", "/settings/api/applications", "/settings/api/trusts",
      "/settings/nowhere",
  ];
  withLog = `/deployments/${done.id}`;
  hostile = {
    // The subject, a variable, an output, a test with its suite and message, an artifact and the log.
    [withLog]: 8,
    [`/deployments/${frozen.id}`]: 2, [`/deployments/${overridden.id}`]: 1, [`/deployments/${rejected.id}`]: 1,
    [`/repositories/${repository}/hooks`]: 1, "/audit": 1, "/settings/connections": 1, "/settings/webhooks": 1, "/settings/teams": 1,
    "/settings/sessions": 1, "/settings/api/tokens": 1, "/settings/api/applications": 1, "/settings/api/trusts": 1,
  };
});

/** The link of an invitation, whose form asks the API for nothing. */
const INVITED = "/join#invitation=inv_x&secret=x";

/**
 * Opens a window of a person who has signed in at the identity provider and belongs to no account.
 * @param {import("playwright-core").BrowserContextOptions} options
 */
async function newcomer(options) {
  const ada = await visitor(options);
  await ada.open("/sign-in");
  await ada.button("Sign in with your identity provider").click();
  await ada.button(/ada@example.com/).click();
  await ada.page.getByRole("list", { name: "Invitations" }).waitFor();
  return ada;
}

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`axe-core finds nothing on any screen in ${colorScheme}`, async () => {
    const owner = await visitor({ colorScheme });
    /** @type {Record<string, string[]>} */
    const found = {};
    const look = async (/** @type {string} */ name) => {
      const here = await violations(owner.page);
      if (here.length) found[name] = here;
    };
    for (const path of ["/sign-in", INVITED]) {
      await owner.open(path);
      await look(path);
    }
    await owner.signIn(stack.owner);
    for (const path of paths) {
      await owner.open(path);
      if (path.endsWith("hooks")) await owner.page.locator("summary").first().click();
      await owner.page.waitForTimeout(300);
      await look(path);
    }
    await owner.open("/");
    await owner.page.keyboard.press("Control+k");
    await look("the palette");
    await owner.page.keyboard.press("Escape");
    await owner.page.keyboard.press("?");
    await look("the help");
    await owner.page.keyboard.press("Escape");
    await owner.open("/settings/api/tokens");
    for (const verb of ["Edit", "Rotate"]) {
      await owner.button(new RegExp(`^${verb}`)).first().click();
      await owner.dialog().waitFor();
      await look(`the dialog ${verb}`);
      await owner.page.keyboard.press("Escape");
    }
    await owner.open("/settings/connections");
    await owner.button("Add connection").first().click();
    for (const kind of ["GitHub App", "User and token"]) {
      await owner.page.getByRole("radio", { name: kind }).check();
      await look(`the dialog of a ${kind}`);
    }
    await owner.page.keyboard.press("Escape");
    await owner.open("/settings/members");
    await owner.button("Invite").click();
    await owner.dialog().waitFor();
    await look("a dialog");
    await owner.dialog().getByRole("button", { name: "Invite" }).click();
    await owner.dialog().locator("[aria-invalid=true]").waitFor();
    await look("a dialog with errors");
    const ada = await newcomer({ colorScheme });
    found["/join"] = await violations(ada.page);
    assert.deepEqual(found, { "/join": [] });
    await owner.close();
    await ada.close();
  });
}

test("no screen scrolls sideways at 320 px, and no control is smaller than 24 px", async () => {
  const viewport = { width: 320, height: 640 };
  const [owner, ada] = [await visitor({ viewport }), await newcomer({ viewport })];
  const fits = async (/** @type {import("playwright-core").Page} */ page, /** @type {string} */ path) => {
    await page.waitForTimeout(200);
    const wide = await excess(page);
    assert.ok(wide <= 0, `${path} is ${wide} px too wide`);
    const small = await page.locator("button:visible, select:visible, input:visible:not([type=checkbox], [type=radio])").evaluateAll((all) =>
      all.filter((one) => one.getBoundingClientRect().height < 24
        || one.getBoundingClientRect().width < 24).map((one) => one.outerHTML));
    assert.deepEqual(small, [], path);
  };
  await fits(ada.page, "/join");
  for (const path of ["/sign-in", INVITED]) {
    await owner.open(path);
    await fits(owner.page, path);
  }
  await owner.signIn(stack.owner);
  for (const path of paths) {
    await owner.open(path);
    await fits(owner.page, path);
  }
  await owner.open("/settings/sessions");
  await owner.page.locator(".reasoned button").first().focus();
  const { left, right } = await owner.page.locator(".tip:visible").evaluate((tip) => tip.getBoundingClientRect().toJSON());
  assert.ok(left >= 0 && right <= 320, `the reason is seen from ${left} to ${right}`);
  await owner.button("Menu").click();
  await owner.link("Repositories").click();
  await owner.page.getByRole("heading", { name: "Repositories" }).waitFor();
  await owner.link("Overview").waitFor({ state: "hidden" });
  await owner.close();
  await ada.close();
});

test("hostile texts stay texts on every screen", async () => {
  const owner = await visitor({ userAgent: HOSTILE });
  await owner.signIn(stack.owner);
  for (const path of paths) {
    await owner.open(path);
    await owner.page.waitForTimeout(300);
    if (path === withLog) await owner.page.getByRole("button", { name: /^post build/ }).waitFor();
    await owner.page.locator("details").evaluateAll((all) => all.forEach((one) => one.setAttribute("open", "")));
    assert.equal(await owner.page.locator("main :is(img, script, iframe, [href^='javascript:'])").count(), 0, path);
    assert.equal(await owner.page.evaluate(() => "hacked" in globalThis), false, path);
    // A log shows the lines that are scrolled to.
    await owner.page.getByRole("log").evaluateAll((all) => all.forEach((one) => one.scrollTo(0, one.scrollHeight)));
    const shown = owner.page.locator("main").getByText(/<img.src=x/);
    if (hostile[path]) await assert.doesNotReject(shown.nth(hostile[path] - 1).waitFor(), path);
  }
  await owner.close();
});

test("an address that does not exist, or that one may not see, says so", async () => {
  const owner = await signedIn();
  for (const path of ["/repositories/nothing", "/deployments/deploy_aaaaaaaaaaaaaaaa",
      "/settings/teams/team_aaaaaaaaaaaaaaaa"]) {
    await owner.open(path);
    await owner.says("Not found");
    assert.match(await owner.page.getByRole("alert").innerText(), /req_/);
  }
  await owner.close();
});
