// Jobs as GitHub's and GitLab's runners run them.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { startIssuer } from "./issuer.js";
import { startProxy } from "./proxy.js";
import { start } from "./stack.js";

const root = process.env.ROOT;
const ACTION = `${root}/infra/github-action`;
const TEMPLATE = `${root}/infra/gitlab/deploy.gitlab-ci.yml`;

/** Starts a stack and an issuer of ID tokens for a file of tests. */
export async function setUp() {
  const [stack, issuer] = await Promise.all([start(), startIssuer()]);
  const { data: refs } = await stack.call(stack.owner, "GET", `/v1/repositories/${stack.repository}/refs`);
  /** @type {Awaited<ReturnType<typeof startProxy>>[]} */
  const proxies = [];
  const jobs = {
    stack, issuer,
    deployment: (/** @type {string} */ id) => stack.call(stack.owner, "GET", `/v1/deployments/${id}`),
    /** Returns the newest commit of a branch. */
    sha: (/** @type {string} */ branch) => refs.find((/** @type {any} */ ref) => ref.name === branch).sha,
    /** Starts a proxy, and creates a trust in jobs that call the API through it. Returns the job's inputs. */
    async prepare(/** @type {Parameters<typeof startProxy>[1]} */ disturb, changes = {}) {
      const proxy = await startProxy(stack.url, disturb);
      proxies.push(proxy);
      const trust = await stack.call(stack.owner, "POST", "/v1/trusts", {
        name: "CI", issuer: issuer.url, audience: proxy.url, claims: { repository: "acme/app" },
        scopes: ["deployments:read", "deployments:write"], ...changes,
      });
      return { proxy, inputs: { api: proxy.url, trust: trust.id, repository: stack.repository } };
    },
    /** Returns the deployments that a trust's jobs have created, newest first. */
    async deployments(/** @type {string} */ trust) {
      const { data: trusts } = await stack.call(stack.owner, "GET", "/v1/trusts?per_page=100");
      const { user_id: user } = trusts.find((/** @type {any} */ one) => one.id === trust);
      return (await stack.call(stack.owner, "GET", `/v1/deployments?created_by=${user}&per_page=100`)).data;
    },
    async stop() {
      for (const server of [...proxies, issuer]) server.stop();
      await stack.stop();
    },
  };
  return jobs;
}

/** Returns the ID tokens that a job has sent to the API, in order. */
export const exchanged = (/** @type {Awaited<ReturnType<typeof startProxy>>} */ proxy) =>
  proxy.requests.filter(({ path }) => path === "/v1/token")
    .map(({ body }) => new URLSearchParams(body).get("subject_token"));

/** Returns the inputs of a build that goes on until a test releases it, and the function that does. */
export function held() {
  const file = join(mkdtempSync(join(tmpdir(), "held-")), "released");
  const inputs = { ref: "held", variables: JSON.stringify({ RELEASED: file }) };
  return { inputs, release: () => writeFileSync(file, "") };
}

/** Waits until a condition holds. */
export async function until(/** @type {() => unknown} */ condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/**
 * Runs a program with nothing but the given variables.
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string | undefined>} env
 */
function run(program, args, env, cwd = "/") {
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, cwd, detached: true });
  const running = {
    output: "",
    /** Sends a signal to the program and the programs that it runs. */
    signal: (/** @type {NodeJS.Signals} */ signal) => process.kill(-/** @type {number} */ (child.pid), signal),
    /** Waits until the output has a text. */
    async prints(/** @type {string} */ text) {
      while (!running.output.includes(text)) {
        if (child.exitCode !== null) throw new Error(`It ended without "${text}":\n${running.output}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    ended: new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? code))),
  };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { running.output += chunk; });
  return running;
}

/**
 * Starts a step with the action, in a job of GitHub Actions.
 * @param {Awaited<ReturnType<typeof setUp>>} jobs
 * @param {Record<string, string>} inputs
 */
export function github({ issuer, sha }, inputs, variables = {}) {
  const action = parse(readFileSync(`${ACTION}/action.yml`, "utf8"));
  for (const name of Object.keys(inputs)) if (!action.inputs[name]) throw new Error(`The action has no input ${name}`);
  const folder = mkdtempSync(join(tmpdir(), "github-"));
  const file = join(folder, "output");
  writeFileSync(file, "");
  const commit = sha("main");
  /** @type {Record<string, string>} */
  const env = {
    GITHUB_ACTIONS: "true", GITHUB_RUN_ID: String(Math.floor(Math.random() * 1e9)), GITHUB_RUN_ATTEMPT: "1",
    GITHUB_SHA: commit, GITHUB_OUTPUT: file, ACTIONS_ID_TOKEN_REQUEST_URL: issuer.requestUrl,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: issuer.requestToken, ...variables,
  };
  for (const [name, { default: otherwise }] of Object.entries(action.inputs)) {
    env[`INPUT_${name.toUpperCase()}`] = inputs[name] ?? String(otherwise ?? "").replace("${{ github.sha }}", commit);
  }
  const job = run(process.execPath, [`${ACTION}/${action.runs.main}`], env);
  return Object.assign(job, {
    outputs() {
      /** @type {Record<string, string>} */
      const outputs = {};
      for (const [, name, , value] of readFileSync(file, "utf8").matchAll(/^(\w+)<<(.+)\n([^]*?)\n\2\n/gm)) {
        if (!action.outputs[name]) throw new Error(`The action has no output ${name}`);
        outputs[name] = value;
      }
      return outputs;
    },
    /** Returns what a person sees, and the commands that the runner carries out. */
    shown() {
      /** @type {{text: string[], commands: string[]}} */
      const shown = { text: [], commands: [] };
      let resume = "";
      for (const line of job.output.split("\n")) {
        if (resume) {
          if (line === `::${resume}::`) resume = "";
          else shown.text.push(line);
        } else if (line.startsWith("::stop-commands::")) {
          resume = line.slice("::stop-commands::".length);
        } else {
          (line.startsWith("::") || line.includes("##[") ? shown.commands : shown.text).push(line);
        }
      }
      return shown;
    },
  });
}

/**
 * Starts the job of GitLab's template.
 * @param {Awaited<ReturnType<typeof setUp>>} jobs
 * @param {Record<string, string>} inputs
 */
export function gitlab({ issuer, sha }, inputs) {
  const [{ spec }, included] = parseAllDocuments(readFileSync(TEMPLATE, "utf8")).map((part) => part.toJS());
  for (const name of Object.keys(inputs)) {
    if (!(name in spec.inputs)) throw new Error(`The template has no input ${name}`);
  }
  const given = (/** @type {string} */ name) => {
    const value = inputs[name] ?? spec.inputs[name].default;
    if (value === undefined) throw new Error(`The input ${name} is missing`);
    return value;
  };
  const filled = JSON.parse(JSON.stringify(included).replace(/\$\[\[ inputs\.(\w+) \]\]/g, (_, name) =>
    JSON.stringify(given(name)).slice(1, -1)));
  const job = filled[given("job")];
  const folder = mkdtempSync(join(tmpdir(), "gitlab-"));
  const subjects = Object.entries(job.id_tokens).map(([name, { aud }]) => [name, issuer.idToken(aud)]);
  const env = {
    GITLAB_CI: "true", CI_JOB_ID: String(Math.floor(Math.random() * 1e9)), CI_COMMIT_SHA: sha("main"),
    CI_PROJECT_DIR: folder, ...job.variables, ...Object.fromEntries(subjects),
  };
  const shell = (/** @type {string[]} */ commands, more = {}) =>
    run("sh", ["-e", "-c", commands.join("\n")], { ...env, ...more }, folder);
  const running = shell([...job.before_script, ...job.script]);
  return Object.assign(running, {
    subjects: subjects.map(([, token]) => token),
    /** Runs what GitLab runs after the script, whatever its end. */
    after: (/** @type {"success" | "failed" | "canceled"} */ status) => shell(job.after_script, { CI_JOB_STATUS: status }),
    /** Returns the variables that later jobs get. */
    outputs() {
      const text = readFileSync(join(folder, job.artifacts.reports.dotenv), "utf8");
      return Object.fromEntries(text.trim().split("\n").map((line) => line.split(/=(.*)/)));
    },
  });
}

