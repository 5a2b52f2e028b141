// Webhooks: their messages reach a receiver, and their secret is shown once.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { signedIn, stack } from "./scene.js";
import { unique } from "./stack.js";

/** @type {{id: string, at: string, signature: string, body: string}[]} */
const received = [];
let status = 200;
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    const header = (/** @type {string} */ name) => `${request.headers[`webhook-${name}`]}`;
    received.push({ id: header("id"), at: header("timestamp"), signature: header("signature"), body });
    response.writeHead(status).end("what the receiver says");
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
after(() => server.close());
const url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}/in`;

test("a webhook is added, tested, rotated, disabled, enabled and deleted, and an event is sent again", async () => {
  const [name, after] = [unique("Board"), unique("Wall")];
  const owner = await signedIn();
  const send = (/** @type {string} */ text) => owner.dialog().getByRole("button", { name: text }).click();
  const secret = async () => {
    const shown = await owner.dialog().locator(".secret code").innerText();
    assert.match(shown, /^whsec_/);
    await owner.button("Done").click();
    await owner.page.locator("dialog").waitFor({ state: "detached" });
    return shown;
  };
  await owner.open("/settings/webhooks");
  await owner.button("Add webhook").first().click();
  await owner.field("Name").fill(name);
  await owner.field("URL").fill("https://10.0.0.1/");
  await owner.field("Events").fill("team.* deployment.exploded");
  await owner.field("Environments").fill("production staging");
  await send("Add webhook");
  await owner.dialog().locator("[name=events][aria-invalid=true]").waitFor();
  await owner.field("Events").fill("team.* deployment.failed");
  await send("Add webhook");
  await owner.dialog().locator("[name=url][aria-invalid=true]").waitFor();
  await owner.field("URL").fill(url);
  await send("Add webhook");
  const first = await secret();
  await owner.says("team.*, deployment.failed");

  await owner.button(`Test ${name}`).click();
  await owner.says(`A test event is sent to ${name}.`);
  await owner.page.locator("summary", { hasText: "Deliveries" }).click();
  const deliveries = owner.page.getByRole("list", { name: "Deliveries" });
  await deliveries.locator(".badge.good", { hasText: "Succeeded" }).waitFor({ timeout: 40_000 });
  await deliveries.getByText("HTTP status 200").waitFor();
  const [{ id, at, signature, body }] = received;
  const key = Buffer.from(first.replace("whsec_", ""), "base64");
  assert.equal(signature, `v1,${createHmac("sha256", key).update(`${id}.${at}.${body}`).digest("base64")}`);
  assert.equal(JSON.parse(body).type, "webhook.tested");

  status = 500;
  await deliveries.getByRole("button", { name: "Redeliver webhook.tested" }).click();
  await deliveries.locator(".badge.wait", { hasText: "Pending" }).waitFor({ timeout: 40_000 });
  await deliveries.getByText("The receiver answered with the HTTP status 500").waitFor({ timeout: 40_000 });
  // The third attempt would follow after five minutes.
  await deliveries.getByText("Attempts: 2").waitFor({ timeout: 40_000 });
  status = 200;
  await deliveries.getByRole("button", { name: "Redeliver webhook.tested" }).click();
  await deliveries.locator(".badge.good", { hasText: "Succeeded" }).waitFor({ timeout: 40_000 });
  assert.equal(received.at(-1)?.id, id);

  await owner.button(`Rotate ${name}`).click();
  await send("Rotate");
  assert.notEqual(await secret(), first);
  await owner.says("The old secret ends");
  await owner.button(`Edit ${name}`).click();
  await owner.field("Name").fill(after);
  await owner.field("Environments").fill("");
  const [sent] = await Promise.all([owner.page.waitForRequest((request) => request.method() === "PATCH"), send("Save")]);
  assert.deepEqual(sent.postDataJSON(), { name: after, environments: [] }, "what stays is not sent");
  await owner.says(`Saved ${after}.`);
  await owner.button(`Disable ${after}`).click();
  await owner.says("Disabled by");
  assert.equal(await owner.button(`Test ${after}`).count(), 0);
  await owner.button(`Enable ${after}`).click();
  await owner.button(`Test ${after}`).waitFor();
  await owner.button(`Delete ${after}`).click();
  await send("Delete");
  await owner.says(`Deleted ${after}.`);
  assert.deepEqual((await stack.call(stack.owner, "GET", "/v1/webhooks")).data, []);
  await owner.close();
});

test("a webhook of Slack has no secret", async () => {
  const name = unique("Channel");
  const owner = await signedIn();
  await owner.open("/settings/webhooks");
  await owner.button("Add webhook").first().click();
  await owner.field("Name").fill(name);
  await owner.field("URL").fill(url);
  await owner.field("Format").selectOption("Slack");
  await owner.dialog().getByRole("button", { name: "Add webhook" }).click();
  await owner.button(`Test ${name}`).click();
  assert.equal(await owner.button(`Rotate ${name}`).count(), 0);
  const row = owner.page.getByRole("listitem").filter({ hasText: name });
  await row.locator("summary", { hasText: "Deliveries" }).click();
  await row.locator(".badge.good", { hasText: "Succeeded" }).waitFor({ timeout: 40_000 });
  assert.match(`${received.at(-1)?.body}`, /webhook Channel.* tested, by /);
  await owner.close();
});
