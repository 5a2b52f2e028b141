// What a build has done and made, on the screen of its deployment.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { signedIn, stack } from "./scene.js";

test("a deployment shows its URL, its tests, its outputs and its artifacts, which are downloaded", async () => {
  const { id } = await stack.deploy({ ref: "results", variables: { GREETING: { value: "good morning", secret: false } } });
  const owner = await signedIn();
  await owner.open(`/deployments/${id}`);
  const open = owner.page.locator(".heading").getByRole("link", { name: "Open", exact: true });
  assert.equal(await open.getAttribute("href"), "https://example.com/pr-7");
  assert.equal(await open.getAttribute("target"), "_blank");

  await owner.says("1 of 2 passed, 0 skipped");
  const failed = owner.page.getByRole("list", { name: "Failed tests" }).getByRole("listitem");
  assert.equal(await failed.count(), 1);
  assert.match(await failed.innerText(), /adds an item\s+cart\s+expected 2, got 3/);
  await owner.button("Copy GREETING").click();
  assert.equal(await owner.page.evaluate(() => navigator.clipboard.readText()), "good morning");

  const files = owner.page.getByRole("list", { name: "Artifacts" });
  await files.getByRole("link", { name: "report.xml" }).waitFor();
  const [download] = await Promise.all([owner.page.waitForEvent("download"), files.getByRole("link", { name: "a page.html" }).click()]);
  assert.equal(download.suggestedFilename(), "a page.html");
  assert.equal(readFileSync(await download.path(), "utf8"), "<b>bold</b>\n");
  const [zip] = await Promise.all([owner.page.waitForEvent("download"), owner.link("Download all").click()]);
  assert.equal(zip.suggestedFilename(), `${id}-artifacts.zip`);
  assert.equal(readFileSync(await zip.path()).subarray(0, 2).toString(), "PK");
  assert.ok(owner.page.url().endsWith(id), "a download leaves the screen as it is");
  await owner.close();
});

test("a build without results shows none", async () => {
  const { id } = await stack.deploy({ ref: "main" });
  const owner = await signedIn();
  await owner.open(`/deployments/${id}`);
  await owner.says("The build has made no artifacts.");
  for (const name of ["Tests", "Outputs"]) assert.equal(await owner.page.getByRole("heading", { name }).count(), 0);
  assert.equal(await owner.link("Open").count(), 0);
  assert.equal(await owner.link("Download all").isVisible(), false);
  await owner.close();
});

test("a deployment shows the commands of its build with their ends", async () => {
  const { id } = await stack.deploy({ ref: "broken", environment: "staging" });
  const owner = await signedIn();
  await owner.open(`/deployments/${id}`);
  const rows = owner.page.getByRole("list", { name: "Commands" }).getByRole("listitem");
  await rows.nth(2).waitFor();
  const texts = await rows.allInnerTexts();
  assert.equal(texts.length, 3);
  assert.match(texts[0], /Succeeded[^]*installed package[^]*Install[^]*exit status 0[^]*\d\.\d s/);
  assert.match(texts[1], /Failed[^]*echo refused >&2; exit 3[^]*Build[^]*exit status 3/);
  assert.match(texts[2], /Succeeded[^]*echo published[^]*Post build[^]*exit status 0/);
  await owner.close();
});
