// What is wrong with a page for people with a disability.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** The least that an axe-core of this test checks. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Returns what axe-core finds on the page. @param {import("playwright-core").Page} page @returns {Promise<string[]>} */
export async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async (tags) =>
    (await /** @type {any} */ (globalThis).axe.run(document, { runOnly: tags })).violations, TAGS);
  return found.map((/** @type {any} */ one) =>
    `${one.id}: ${one.nodes.map((/** @type {any} */ node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
}

/** Returns by how many pixels the page is wider than the window. @param {import("playwright-core").Page} page */
export const excess = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
