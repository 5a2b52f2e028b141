// The documentation in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { excess, violations } from "./axe.js";
import { visitor } from "./scene.js";

const PAGES = ["/docs", "/docs/guides/quick-start", "/docs/deployments", "/docs/reference", "/docs/reference/create-deployment",
  "/docs/errors/rate_limited", "/docs/nothing"];

test("the search finds a page by keyboard, and says what it has chosen", async () => {
  const reader = await visitor();
  const { page } = reader;
  await page.goto("/docs");
  await page.keyboard.press("/");
  await page.keyboard.type("freezes");
  const search = page.getByRole("combobox", { name: "Search the documentation" });
  const found = page.getByRole("option");
  await found.filter({ hasText: "Protection rules" }).waitFor();
  assert.equal(await search.getAttribute("aria-expanded"), "true");
  await page.keyboard.press("ArrowDown");
  const chosen = page.getByRole("option", { selected: true });
  assert.equal(await chosen.getAttribute("id"), await search.getAttribute("aria-activedescendant"));
  await search.fill("protection rules");
  await found.first().filter({ hasText: "Protection rules" }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/docs/protection-rules");
  await search.fill("nothing has such words");
  await found.first().waitFor({ state: "detached" });
  assert.equal(await search.getAttribute("aria-expanded"), "false");
  await reader.close();
});

test("a chosen language shows its sample, also on the next page", async () => {
  const reader = await visitor();
  const { page } = reader;
  for (const path of ["/docs/reference/create-deployment", "/docs/reference/list-repositories"]) {
    await page.goto(path);
    const shown = page.locator(".samples .panel:visible");
    if (path.endsWith("create-deployment")) {
      assert.match(await shown.first().innerText(), /^curl /);
      await page.locator(".samples label", { hasText: "Python" }).first().click();
    }
    assert.match(await shown.first().innerText(), /^import /);
    assert.equal(await shown.count(), await page.locator(".samples").count(), "one sample of each group is shown");
  }
  await reader.close();
});

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`axe-core finds nothing in the documentation in ${colorScheme}`, async () => {
    const reader = await visitor({ colorScheme });
    /** @type {Record<string, string[]>} */
    const found = {};
    for (const path of PAGES) {
      await reader.page.goto(path);
      const here = await violations(reader.page);
      if (here.length) found[path] = here;
    }
    await reader.page.goto("/docs");
    await reader.page.getByRole("combobox").fill("token");
    await reader.page.getByRole("option").first().waitFor();
    const here = await violations(reader.page);
    if (here.length) found["the search"] = here;
    assert.deepEqual(found, {});
    await reader.close();
  });
}

test("no page of the documentation scrolls sideways at 320 px", async () => {
  const reader = await visitor({ viewport: { width: 320, height: 640 } });
  for (const path of PAGES) {
    await reader.page.goto(path);
    const wide = await excess(reader.page);
    assert.ok(wide <= 0, `${path} is ${wide} px too wide`);
  }
  await reader.page.goto("/docs");
  await reader.page.getByRole("combobox").fill("token");
  await reader.page.getByRole("option").first().waitFor();
  assert.ok(await excess(reader.page) <= 0, "the search fits");
  await reader.close();
});
