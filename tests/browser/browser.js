// A person with a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const document = JSON.parse(readFileSync(new URL("../../functions/get-openapi/openapi.json", import.meta.url), "utf8"));
/** The methods of each path of the API, with a pattern of the path. @type {[RegExp, string[]][]} */
const OPERATIONS = Object.entries(document.paths).map(([path, methods]) =>
  [new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`), Object.keys(methods)]);
const exists = (/** @type {string} */ method, /** @type {string} */ path) =>
  OPERATIONS.some(([pattern, methods]) => pattern.test(path) && methods.includes(method.toLowerCase()));

/** Starts the browser. */
export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"] });

/**
 * Opens a window of its own, which has no cookies yet.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function person(browser, url, options = {}) {
  const context = await browser.newContext({ baseURL: url, viewport: { width: 1280, height: 900 },
      permissions: ["clipboard-read", "clipboard-write"], acceptDownloads: true, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  /** What must never happen on any screen. @type {string[]} */
  const faults = [];
  page.on("pageerror", (error) => faults.push(`${error}`));
  page.on("dialog", (dialog) => (faults.push(`A script opened: ${dialog.message()}`), dialog.dismiss()));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|Trusted Type/.test(message.text())) faults.push(message.text());
  });
  context.on("request", (request) => {
    const { origin, pathname } = new URL(request.url());
    if (origin === new URL(url).origin && pathname.startsWith("/v1/") && !exists(request.method(), pathname)) {
      faults.push(`${request.method()} ${pathname} is no operation of the API`);
    }
  });
  const button = (/** @type {string | RegExp} */ name) =>
    page.getByRole("button", { name, exact: typeof name === "string" });
  return {
    page, context, faults, button,
    /** Opens the link that the local stack prints. */
    async signIn(/** @type {string} */ token) {
      await page.goto(`/sign-in#token=${token}`);
      await page.getByRole("heading", { name: "Overview" }).waitFor();
    },
    /** Opens a path, and waits until nothing is loading any more. */
    async open(/** @type {string} */ path) {
      await page.goto(path);
      await this.settled();
    },
    async settled() {
      await page.locator("h1").first().waitFor();
      await page.locator(".loading").first().waitFor({ state: "detached" });
    },
    link: (/** @type {string | RegExp} */ name) => page.getByRole("link", { name, exact: typeof name === "string" }),
    field: (/** @type {string | RegExp} */ name) => page.getByLabel(name, { exact: typeof name === "string" }),
    dialog: () => page.getByRole("dialog"),
    says: (/** @type {string | RegExp} */ text) => page.getByText(text).first().waitFor(),
    /** Waits until the deployment on the screen has a state. */
    becomes: (/** @type {string} */ word) =>
      page.locator(".heading .badge", { hasText: word }).waitFor({ timeout: 60_000 }),
    async close() {
      await context.close();
      assert.deepEqual(faults, []);
    },
  };
}
