// Deploys a commit from a job of GitHub Actions or GitLab CI. Exchanges the job's ID token for a token of the API, creates
// a deployment, prints its log as it comes, and exits with 0 only if it succeeds. Cancels the deployment if the job is
// canceled.
//
//   deploy.mjs          deploys
//   deploy.mjs cancel   cancels the deployment that an earlier call in the same job of GitLab CI has created
//
// Needs Node.js 20 or newer and no packages. The inputs are the variables INPUT_API, INPUT_TRUST, INPUT_REPOSITORY,
// INPUT_REF, INPUT_ENVIRONMENT, INPUT_VARIABLES and INPUT_WAIT, as GitHub passes them. action.yml describes them.

import { createHash, randomUUID } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

const { env } = process;
const TRIES = 10;
const LONGEST_PAUSE = 60;
const LONGEST_REQUEST = 30_000;
const FINAL = ["succeeded", "failed", "canceled", "superseded"];
const WAITS_FOR = {
  approval: "an approval", freeze: "the end of a freeze", wait: "the wait timer", deployment: "another deployment",
  requirement: "a success in another environment", capacity: "capacity",
};

/** An error that ends the job. Its message is for the job's log. */
class Fatal extends Error {}
/** The job was canceled. */
class Canceled extends Fatal {}

/** GitHub Actions: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands */
const github = {
  run: `github-${env.GITHUB_RUN_ID}-${env.GITHUB_RUN_ATTEMPT}`,
  sha: env.GITHUB_SHA,
  async idToken(audience) {
    const { ACTIONS_ID_TOKEN_REQUEST_URL: base } = env;
    if (!base) throw new Fatal("The job has no ID token: give it the permission 'id-token: write'");
    const url = `${base}&audience=${encodeURIComponent(audience)}`;
    const headers = { Authorization: `Bearer ${env.ACTIONS_ID_TOKEN_REQUEST_TOKEN}` };
    const answer = await repeated((signal) => attempt(url, { headers }, signal));
    if (!answer.body?.value) throw new Fatal(`GitHub gave the job no ID token: status ${answer.status}`);
    return answer.body.value;
  },
  moreIdTokens: () => false,
  keepsIdToken() {},
  output(name, value) {
    const end = randomUUID();
    appendFileSync(env.GITHUB_OUTPUT, `${name}<<${end}\n${value}\n${end}\n`);
  },
  hide: (secret) => console.log(`::add-mask::${secret}`),
  // A line of a log could be a command to the runner, such as `::error::`.
  print(lines) {
    const resume = randomUUID();
    console.log([`::stop-commands::${resume}`, ...lines, `::${resume}::`].join("\n"));
  },
  fail: (text) => console.log(`::error::${text.replace(/[%\r\n]/g, encodeURIComponent)}`),
};

/**
 * GitLab CI. A job gets its ID tokens when it starts, in SUBJECT_TOKEN_1, SUBJECT_TOKEN_2, …, and the API takes each of
 * them once. `cancel` runs when the first ones may be used, so it begins with the last.
 */
const gitlab = {
  run: `gitlab-${env.CI_JOB_ID}`,
  sha: env.CI_COMMIT_SHA,
  idTokens: Object.keys(env).filter((name) => /^SUBJECT_TOKEN_\d+$/.test(name))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true })),
  next: 0,
  async idToken() {
    if (!this.moreIdTokens()) {
      const more = `give it SUBJECT_TOKEN_${this.idTokens.length + 1} in 'id_tokens'`;
      throw new Fatal(`The job has no ID token that it has not used: ${more}`);
    }
    return env[this.idTokens[this.next++]];
  },
  moreIdTokens() {
    return this.next < this.idTokens.length;
  },
  keepsIdToken() {
    this.next -= 1;
  },
  // The variables are those of all later jobs, so their names say what they belong to.
  names: {
    deployment_id: "DEPLOYMENT_ID", url: "DEPLOYMENT_URL", status: "DEPLOYMENT_STATUS",
    environment_url: "ENVIRONMENT_URL",
  },
  output(name, value) {
    appendFileSync(outputs(), `${this.names[name]}=${value.replace(/[\r\n]/g, "")}\n`);
  },
  hide() {},
  print: (lines) => console.log(lines.join("\n")),
  fail: (text) => console.log(`ERROR: ${text}`),
};

/** Returns the file that GitLab reads as the job's `dotenv` report. */
const outputs = () => `${env.CI_PROJECT_DIR}/deployment.env`;

const host = env.GITLAB_CI ? gitlab : github;
let interruption = new AbortController();
let accessToken;

/** Returns an input, or the default if it is absent or empty. */
function input(name, otherwise) {
  const value = env[`INPUT_${name.toUpperCase()}`]?.trim() || otherwise;
  if (value === undefined) throw new Fatal(`The input '${name}' is missing`);
  return value;
}

/** Waits, unless the job is canceled. */
async function wait(seconds) {
  try {
    await delay(seconds * 1000, undefined, { signal: interruption.signal });
  } catch {
    throw new Canceled("The job was canceled");
  }
}

/** Sends a request once. Returns the answer, whose body is undefined unless it is JSON. */
async function attempt(url, options, signal) {
  const timeout = AbortSignal.timeout(LONGEST_REQUEST);
  const response = await fetch(url, { ...options, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy or a gateway may answer with something else.
  }
  const { status, headers } = response;
  return { status, headers, body, reason: body?.error?.message ?? body?.message ?? `status ${status}` };
}

const isTransient = ({ status, body }) =>
  [429, 500, 502, 503, 504].includes(status) || body?.error?.code === "idempotency_key_in_use";

/**
 * Sends a request until it gets an answer that stands, and waits in between for as long as the API says. A request that
 * creates something is not cut off when the job is canceled. If it may have reached the API, it is sent once more to
 * learn the outcome.
 */
async function repeated(send, creates = false) {
  let mayHaveCreated = false;
  let left = TRIES;
  for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    const { signal } = interruption;
    let seconds = pause * (1 + Math.random() / 2);
    let reason;
    try {
      const answer = await send(creates ? undefined : signal);
      if (!isTransient(answer)) return answer;
      reason = answer.reason;
      seconds = Math.max(Number(answer.headers.get("retry-after")) || 0, seconds);
      mayHaveCreated ||= creates && answer.status >= 500;
    } catch (error) {
      if (error instanceof Fatal) throw error;
      if (signal.aborted && !creates) throw new Canceled("The job was canceled");
      reason = error.cause?.message || error.message;
      mayHaveCreated ||= creates;
    }
    left -= 1;
    if (left === 0) throw new Fatal(`The API did not carry out a request: ${reason}`);
    host.print([`Trying again in ${Math.ceil(seconds)} s: ${reason}`]);
    try {
      await wait(seconds);
    } catch (error) {
      if (!mayHaveCreated) throw error;
      left = 1;
    }
  }
}

/** Exchanges an ID token of the job for a token of the API. */
async function exchange() {
  for (;;) {
    const answer = await repeated(async (signal) => {
      const form = new URLSearchParams({
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
        subject_token: await host.idToken(api),
        audience: input("trust"),
      });
      const sent = await attempt(`${api}/v1/token`, { method: "POST", body: form }, signal);
      if (sent.status === 429) host.keepsIdToken();
      return sent;
    });
    if (answer.status === 200) {
      host.hide(answer.body.access_token);
      return answer.body.access_token;
    }
    // Another call, or a request without an answer, may have used this one.
    const isUsed = answer.body?.error?.code === "invalid_grant" && host.moreIdTokens();
    if (!isUsed) throw new Fatal(`The API does not take the job's ID token: ${answer.reason}`);
  }
}

/** Calls the API with a token, and with a new one if the token has expired. */
async function call(method, path, { body, headers } = {}) {
  const content = body && { "Content-Type": "application/json" };
  const send = async (signal) => {
    accessToken ??= await exchange();
    const authorized = { Authorization: `Bearer ${accessToken}`, ...content, ...headers };
    return attempt(api + path, { method, body, headers: authorized }, signal);
  };
  const answer = await repeated(async (signal) => {
    const first = await send(signal);
    if (first.status !== 401) return first;
    accessToken = undefined;
    return send(signal);
  }, method === "POST");
  if (answer.status >= 400) throw new Fatal(`${method} ${path}: ${answer.reason}`);
  return answer;
}

async function create() {
  let variables;
  try {
    variables = JSON.parse(input("variables", "{}"));
  } catch {
    throw new Fatal("The input 'variables' is no JSON: it must be an object, such as {\"NAME\": \"value\"}");
  }
  const wanted = { ref: input("ref", host.sha), environment: input("environment", "preview"), variables };
  const body = JSON.stringify(wanted);
  // A job may deploy more than once. What it deploys tells its deployments apart.
  const digest = createHash("sha256").update(body).digest("hex").slice(0, 16);
  const path = `/v1/repositories/${encodeURIComponent(input("repository"))}/deployments`;
  const headers = { "Idempotency-Key": `${host.run}-${digest}` };
  const { body: deployment } = await call("POST", path, { body, headers });
  host.output("deployment_id", deployment.id);
  host.output("url", deployment.url);
  const { id, ref, sha, environment, url } = deployment;
  host.print([`${id} deploys ${ref} (${sha}) to ${environment}: ${url}`]);
  return deployment;
}

/** Returns a line about the state of a deployment. */
function described({ id, status, queue, failure }) {
  const blocker = queue?.blocked_by;
  if (blocker) {
    const [until, reason] = [blocker.until && ` until ${blocker.until}`, blocker.reason && `: ${blocker.reason}`];
    return `${id} is queued and waits for ${WAITS_FOR[blocker.kind] ?? blocker.kind}${until ?? ""}${reason ?? ""}`;
  }
  return failure ? `${id} has failed with ${failure.code}: ${failure.message}` : `${id} is ${status}`;
}

/** Prints the lines of the log after a position. Returns the log's end or the position, and when to ask again. */
async function printLog(id, after) {
  for (let at = after; ;) {
    const { body, headers } = await call("GET", `/v1/deployments/${id}/log?after=${at}`);
    if (body.data.length > 0) host.print(body.data.map((line) => line.text));
    at = body.meta.next_after;
    const interval = headers.get("x-poll-interval");
    if (body.meta.complete || interval !== "0") return { complete: body.meta.complete, after: at, interval };
  }
}

/** Follows a deployment to its end, with its log. Returns it. */
async function follow(deployment) {
  let [shown, etag, log] = ["", "", { complete: false, after: 0, interval: null }];
  for (let current = deployment; ;) {
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await call("GET", `/v1/deployments/${deployment.id}`, { headers });
    if (answer.status === 200) {
      current = answer.body;
      etag = answer.headers.get("etag");
    }
    const isOver = FINAL.includes(current.status);
    const description = described(current);
    if (!isOver && description !== shown) host.print([description]);
    shown = description;
    if (current.status !== "queued") log = await printLog(deployment.id, log.after);
    if (isOver && log.complete) return current;
    await wait(Number(log.interval ?? answer.headers.get("x-poll-interval") ?? 5));
  }
}

async function cancel(id) {
  // What has ended the job must not end its cancelation too.
  interruption = new AbortController();
  try {
    const { body } = await call("POST", `/v1/deployments/${id}/cancel`);
    host.output("status", body.status);
    host.print([FINAL.includes(body.status) ? `${id} is ${body.status}` : `${id} is asked to stop`]);
  } catch (error) {
    host.fail(`${id} could not be canceled: ${error.message}`);
  }
}

async function deploy() {
  const follows = { true: true, false: false }[input("wait", "true")];
  if (follows === undefined) throw new Fatal("The input 'wait' must be true or false");
  const deployment = await create();
  try {
    if (interruption.signal.aborted) throw new Canceled("The job was canceled");
    const last = follows ? await follow(deployment) : deployment;
    host.output("status", last.status);
    host.output("environment_url", last.environment_url ?? "");
    if (!follows) return 0;
    if (last.status === "succeeded") {
      host.print([described(last)]);
      return 0;
    }
    host.fail(described(last));
    return 1;
  } catch (error) {
    if (error instanceof Canceled) await cancel(deployment.id);
    throw error;
  }
}

/** Cancels the deployment that an earlier call has created and not seen to its end. */
async function cancelEarlier() {
  const told = existsSync(outputs()) ? readFileSync(outputs(), "utf8") : "";
  const id = told.match(/^DEPLOYMENT_ID=(.+)$/m)?.[1];
  if (id && !/^DEPLOYMENT_STATUS=/m.test(told)) {
    gitlab.idTokens.reverse();
    await cancel(id);
  }
  return 0;
}

const api = input("api", "https://api.git.dev").replace(/\/+$/, "");
let exit = 1;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    exit = 128 + constants.signals[signal];
    interruption.abort();
  });
}
try {
  exit = process.argv[2] === "cancel" ? await cancelEarlier() : await deploy();
} catch (error) {
  if (!(error instanceof Fatal)) throw error;
  host.fail(error.message);
}
process.exitCode = exit;
