// Calls the API. The session is a cookie that scripts can't read, so there is no token here.

/** An answer that is no success. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if there was no answer
   * @param {string} code
   * @param {string} message
   * @param {string} requestId
   * @param {{field: string, message: string}[]} [details]
   */
  constructor(status, code, message, requestId, details = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.details = details;
  }
}

/**
 * What the page does when a call can't go on by itself.
 * @type {{signedOut: () => void, signInAgain: () => Promise<boolean>, notice: (text: string | null) => void}}
 */
export const hooks = { signedOut() {}, signInAgain: async () => false, notice() {} };

/** The account's requests per minute, as the last answer told it. */
export let perMinute = 60;

/**
 * @typedef {object} Options
 * @property {unknown} [body]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/**
 * Resolves after some seconds, and rejects when the signal aborts.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * Sends a request. Waits while the account's rate limit is reached, and asks for a new sign-in where the API wants one.
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<Response>} a success, or 304
 */
export async function call(method, path, { body, headers, signal } = {}) {
  for (let again = false; ; ) {
    const response = await send(method, path, body, headers, signal);
    perMinute = Number(response.headers.get("x-ratelimit-limit")) || perMinute;
    if (response.ok || response.status === 304) return response;
    if (response.status === 429) {
      await waitOut(Number(response.headers.get("retry-after")) || 5, signal);
      continue;
    }
    const error = await read(response);
    if (error.code === "sign_in_again" && !again && (await hooks.signInAgain())) {
      again = true;
      continue;
    }
    if (response.status === 401 && path !== "/v1/session") hooks.signedOut();
    throw error;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {Record<string, string>} [headers]
 * @param {AbortSignal} [signal]
 */
async function send(method, path, body, headers, signal) {
  /** @type {Record<string, string>} */
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const limit = AbortSignal.timeout(60_000);
  try {
    return await fetch(path, {
      method,
      headers: { Accept: "application/json", ...json, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const text = limit.aborted ? "The API did not answer within a minute." : "The API can't be reached.";
    throw new ApiError(0, "unreachable", `${text} Check your connection and try again.`, "");
  }
}

/**
 * Reads an error, also one that the gateway made and that has no envelope.
 * @param {Response} response
 */
async function read(response) {
  /** @type {{error?: {code: string, message: string, request_id: string, details?: {field: string, message: string}[]}, message?: string}} */
  const body = await response.json().catch(() => ({}));
  const id = response.headers.get("x-request-id") ?? response.headers.get("apigw-requestid") ?? "";
  if (body.error) return new ApiError(response.status, body.error.code, body.error.message,
    body.error.request_id ?? id, body.error.details);
  return new ApiError(response.status, "gateway", body.message ?? `The API answered with status ${response.status}.`,
    id);
}

/**
 * Counts the seconds down until the next request makes sense.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 */
async function waitOut(seconds, signal) {
  try {
    for (let left = Math.ceil(seconds); left > 0; left--) {
      hooks.notice(`The rate limit is reached. Trying again in ${left} s.`);
      await pause(1, signal);
    }
  } finally {
    hooks.notice(null);
  }
}

/**
 * Returns the body of a GET.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const get = async (path, signal) => (await call("GET", path, { signal })).json();

/**
 * Sends a body and returns the answer's.
 * @param {"POST" | "PATCH" | "PUT" | "DELETE"} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export const change = async (method, path, body, headers) => (await call(method, path, { body, headers })).json();

/**
 * Returns a page of a list with the paths of the pages before and after it. Passes over empty pages of a search, after which
 * more may follow.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @param {number} [passed]
 * @returns {Promise<Page>}
 */
export async function page(path, signal, passed = 0) {
  const response = await call("GET", path, { signal });
  const body = await response.json();
  const next = linked(response, "next");
  if (!body.data.length && next && passed < 20) return page(next, signal, passed + 1);
  return { items: body.data, total: body.meta.total ?? null, actors: body.actors ?? {}, next,
    previous: linked(response, "prev") };
}

/**
 * Returns the path that an answer links to, or null.
 * @param {Response} response
 * @param {string} relation
 */
function linked({ headers }, relation) {
  const url = headers.get("link")?.match(new RegExp(`<([^>]*)>; rel="${relation}"`))?.[1];
  if (!url) return null;
  const { pathname, search } = new URL(url, location.origin);
  return pathname + search;
}

/**
 * Returns all items of a list, up to ten pages.
 * @param {string} path without a query
 * @param {AbortSignal} [signal]
 * @returns {Promise<any[]>}
 */
export async function all(path, signal) {
  const items = [];
  /** @type {string | null} */
  let next = `${path}?per_page=100`;
  for (let pages = 0; next && pages < 10; pages++) {
    const one = await page(next, signal);
    items.push(...one.items);
    next = one.next;
  }
  return items;
}

/**
 * Follows a resource: asks again after the seconds that the API names, with the ETag it gave, and only while the page is
 * visible. Keeps on while the connection is lost, and says so.
 * @param {() => string} path
 * @param {(body: any) => number | void} take is called with each new state; returns the seconds until the next request if the
 * API names none, less than one if there is more to read now, or 0 to end
 * @param {AbortSignal} signal
 */
export async function follow(path, take, signal) {
  let tag = "";
  let asked = "";
  let seconds = 10;
  for (let taken = false, failures = 0; ; ) {
    if (asked !== path()) [asked, tag] = [path(), ""];
    try {
      const response = await call("GET", asked, { signal, headers: tag ? { "If-None-Match": tag } : {} });
      if (failures) hooks.notice(null);
      failures = 0;
      let more = 0;
      const conditional = response.headers.has("etag");
      if (response.status !== 304) {
        tag = response.headers.get("etag") ?? "";
        const wanted = take(await response.json());
        if (wanted === 0) return;
        // Without an ETag each request counts, so a follower uses at most a fifth of the account's requests.
        seconds = conditional ? (wanted ?? seconds) : Math.max(wanted ?? seconds, 300 / perMinute);
        if (wanted && wanted < 1) more = wanted;
        taken = true;
      }
      await pause(more || Number(response.headers.get("x-poll-interval")) || seconds, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!taken || !(error instanceof ApiError) || (error.status !== 0 && error.status < 500)) throw error;
      failures++;
      hooks.notice("The connection is lost. The page shows the last known state and keeps trying.");
      await pause(Math.min(2 ** failures, 30), signal);
    }
    await visible(signal);
  }
}

/**
 * Resolves as soon as the page is visible.
 * @param {AbortSignal} signal
 */
async function visible(signal) {
  while (document.hidden) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true, signal });
      signal.addEventListener("abort", resolve, { once: true });
    });
    signal.throwIfAborted();
  }
}
