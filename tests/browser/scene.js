// The stack and the browser of a file of tests, which start before its first test and end after its last one.

import { after } from "node:test";
import { launch, person } from "./browser.js";
import { start } from "./stack.js";

const browser = await launch();
export const stack = await start();
after(() => Promise.all([browser.close(), stack.stop()]));

/**
 * Opens a window of somebody who has not signed in.
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export const visitor = (options) => person(browser, stack.url, options);

/**
 * Opens a window of somebody who has signed in with a token.
 * @param {string} [token]
 */
export async function signedIn(token = stack.owner) {
  const one = await visitor();
  await one.signIn(token);
  return one;
}
