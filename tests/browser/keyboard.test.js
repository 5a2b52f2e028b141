// The whole way from the sign-in to the end of a deployment, without a mouse.

import assert from "node:assert/strict";
import { test } from "node:test";
import { stack, visitor } from "./scene.js";

test("everything is done by keyboard alone", async () => {
  const owner = await visitor();
  const { page } = owner;
  const { keyboard } = page;
  const focused = () => page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement);
    if (element === document.body) return "";
    return `${element.getAttribute("aria-label") ?? element.textContent?.trim() ?? ""} ${element.getAttribute("name") ?? ""}`.trim();
  });
  /** Presses Tab until the focus is on something, which must then be visible. */
  const tabTo = async (/** @type {RegExp} */ what) => {
    for (let presses = 0; presses < 80; presses++) {
      if (what.test(await focused())) {
        const outline = await page.evaluate(() =>
          getComputedStyle(/** @type {Element} */ (document.activeElement)).outlineStyle);
        assert.notEqual(outline, "none", `the focus on ${what} can be seen`);
        return;
      }
      await keyboard.press("Tab");
    }
    throw new Error(`Tab does not reach ${what}`);
  };

  await page.goto("/sign-in");
  await owner.field("Personal access token").waitFor();
  await tabTo(/token$/);
  await keyboard.insertText(stack.owner);
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();

  await keyboard.press("Control+k");
  await keyboard.type(`deploy ${stack.repository}`);
  await page.locator("[role=option][aria-selected=true]", { hasText: `Deploy ${stack.repository}` }).waitFor();
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: `Deploy ${stack.repository}` }).waitFor();
  assert.match(await focused(), /^Deploy/, "the focus is on the heading of the new screen");

  await tabTo(/ref$/);
  await keyboard.press("Control+a");
  await keyboard.type("paced");
  await keyboard.press("Tab");
  await keyboard.press("ArrowDown");
  await owner.button("Deploy to staging").and(page.locator(":not([aria-disabled])")).waitFor();
  await owner.says("The deployment starts at once.");
  await tabTo(/^Deploy to staging/);
  await keyboard.press("Enter");
  await owner.becomes("In progress");

  await page.locator(".log-line").first().waitFor();
  await keyboard.press("/");
  assert.match(await focused(), /Find in the log/);
  await keyboard.type("package 12");
  await owner.says(/1 of \d+ lines/);
  await keyboard.press("Enter");
  await owner.says(/2 of \d+ lines/);
  await keyboard.press("Shift+Enter");
  await owner.says(/1 of \d+ lines/);
  await owner.becomes("Succeeded");

  await tabTo(/^install/);
  await keyboard.press("Enter");
  await page.locator(".phase-head[aria-expanded=false]", { hasText: "install" }).waitFor();

  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur());
  await keyboard.press("g");
  await keyboard.press("t");
  await page.getByRole("heading", { name: "Tokens" }).waitFor();
  await keyboard.press("?");
  await owner.dialog().getByRole("heading", { name: "Help" }).waitFor();
  await keyboard.press("Space");
  await keyboard.press("Escape");
  await owner.dialog().waitFor({ state: "detached" });
  await keyboard.press("?");
  await page.waitForTimeout(300);
  assert.equal(await owner.dialog().count(), 0, "single keys can be turned off");

  await tabTo(/^New token/);
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "New token" }).waitFor();
  await tabTo(/name$/);
  await keyboard.type("By keyboard");
  await keyboard.press("Enter");
  await owner.dialog().locator(".secret").waitFor();
  await tabTo(/^Done/);
  await keyboard.press("Enter");
  await page.getByText("By keyboard").waitFor();
  await tabTo(/^Revoke By keyboard/);
  await keyboard.press("Enter");
  await tabTo(/^Revoke$/);
  await keyboard.press("Enter");
  await owner.says("Revoked By keyboard.");
  await owner.close();
});
