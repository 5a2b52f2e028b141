// The local stack that the tests drive, its actors, and the repository that they deploy.

import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A text that would run as a script if it were taken for markup anywhere. */
export const HOSTILE = `<img src=x onerror="window.hacked=1">"'&{{7*7}}`;
/** The name of a branch that would do the same. */
export const HOSTILE_REF = `<img/src=x/onerror="window.hacked=1">`;
/** A text that no other test uses. */
export const unique = (/** @type {string} */ name) => `${name}-${randomBytes(3).toString("hex")}`;

const phases = (/** @type {string} */ build) => `version: 0.2
phases:
  install:
    commands:
      - for i in $(seq 1 300); do echo "installed package $i"; done
  build:
    commands:
      - ${build}
  post_build:
    commands:
      - echo published
`;

/** A build with test reports, outputs and artifacts. */
const RESULTS = `|
        echo '<testsuite name="cart"><testcase name="adds an item"><failure message="expected 2, got 3"/></testcase><testcase name="empties"/></testsuite>' > report.xml
        echo '<b>bold</b>' > "a page.html"
        export DEPLOYMENT_URL=https://example.com/pr-7`;
const REPORTED = `env:
  exported-variables: [DEPLOYMENT_URL, GREETING]
reports:
  unit:
    files: [report.xml]
artifacts:
  files: ['*.html', report.xml]
`;

/** A build that writes the hostile text wherever a build can: to the log, the reports, the outputs and the artifacts. */
function hostile() {
  const quoted = `'${HOSTILE.replaceAll("'", "'\\''")}'`;
  const escaped = HOSTILE.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
  return `|
        printf '%s \\033[31mred\\033[0m\\n' ${quoted}
        echo '<testsuite name="${escaped}"><testcase name="${escaped}"><failure message="${escaped}"/></testcase></testsuite>' > report.xml
        echo text > ${quoted}.html
        export DEPLOYMENT_URL='javascript:window.hacked=1'`;
}

/** Creates a repository whose branches succeed, fail, run until they are canceled, or write what nobody should. */
function repository() {
  const folder = mkdtempSync(join(tmpdir(), "dashboard-"));
  const git = (/** @type {string[]} */ ...args) =>
    execFileSync("git", ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.com", "-c",
      "commit.gpgsign=false", ...args], { cwd: folder });
  const branch = (/** @type {string} */ name, /** @type {string} */ build, subject = `Build ${name}`, more = "",
    author = "Ada Lovelace") => {
    git("checkout", "--quiet", "--orphan", name);
    writeFileSync(join(folder, "buildspec.yml"), phases(build) + more);
    git("add", "--all");
    git("-c", `author.name=${author}`, "commit", "--quiet", "--message", subject);
  };
  git("init", "--quiet", ".");
  branch("broken", "echo refused >&2; exit 3");
  branch("slow", "for i in $(seq 1 600); do echo tick $i; sleep 0.2; done");
  branch("held", 'for i in $(seq 1 20); do echo step $i; done; while [ ! -e "$RELEASED" ]; do sleep 0.1; done');
  branch("paced", "for i in $(seq 1 20); do echo step $i; sleep 0.3; done");
  branch("hostile", hostile(), HOSTILE, REPORTED, HOSTILE);
  git("branch", HOSTILE_REF);
  branch("results", RESULTS, undefined, REPORTED);
  branch("commands", "echo '::error::told by the log'");
  branch("main", "echo built");
  git("checkout", "--quiet", "--detach");
  git("commit", "--quiet", "--allow-empty", "--message", "Come from a fork");
  git("update-ref", "refs/pull/7/head", "HEAD");
  git("checkout", "--quiet", "main");
  return { folder, commit: () => git("commit", "--quiet", "--allow-empty", "--message", "Change nothing") };
}

/**
 * Starts a stack of its own for a file of tests, or uses the one that BASE_URL names.
 */
export async function start() {
  const repo = repository();
  const data = mkdtempSync(join(tmpdir(), "stack-"));
  const given = process.env.BASE_URL;
  const child = given ? undefined
    : spawn(/** @type {string} */ (process.env.LOCAL), ["--port", "0", "--data", data, "--repo", repo.folder],
    { cwd: repo.folder, stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  let [url, owner, starter] = [given ?? "", process.env.TOKEN ?? "", process.env.STARTER_TOKEN ?? ""];
  if (child) {
    for await (const chunk of child.stdout) {
      printed += chunk;
      const link = printed.match(/(http:\/\/[^\s/]+)\/sign-in#token=(dgp_\w+)/);
      if (link && /Ctrl-C/.test(printed)) {
        [, url, owner] = link;
        starter = printed.match(/(dgp_\w+).*Starter plan/)?.[1] ?? "";
        break;
      }
    }
    if (!url) throw new Error(`The stack ended: ${printed}`);
  }

  /**
   * Calls the API as a program does: waits where the account's rate limit is exhausted.
   * @param {string} token
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  const call = async (token, method, path, body) => {
    const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...(body ? { "Content-Type": "application/json" } : {}) };
    const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
    if (response.status === 429) {
      const seconds = Number(response.headers.get("retry-after"));
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      return call(token, method, path, body);
    }
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(`${method} ${path}: ${answer.error?.message}`),
      { code: answer.error?.code });
    return answer;
  };
  /** The local stack's git host, which asks for a password. A stack that BASE_URL names has its own. */
  const privateHost = async () => {
    const { clone_url: cloneUrl } = await call(owner, "GET", "/v1/repositories/private-demo");
    return { cloneUrl, host: new URL(cloneUrl).host, username: "demo",
      password: readFileSync(join(data, "git-host-password"), "utf8") };
  };
  /** The client of machines at the local stack's issuer, with a new access token. */
  const machine = async () => {
    const [, id, secret, issuer] = printed.match(/-u (\S+):(\S+) -d grant_type=client_credentials[\s\\]+(\S+)\/oauth2\/token/) ?? [];
    const response = await fetch(`${issuer}/oauth2/token`, { method: "POST",
      headers: { Authorization: `Basic ${btoa(`${id}:${secret}`)}` }, body: new URLSearchParams({ grant_type: "client_credentials" }) });
    const { access_token: token } = await response.json();
    return { id, token };
  };
  const name = unique("web");
  await call(owner, "POST", "/v1/repositories", { name, clone_url: repo.folder, default_branch: "main" });

  return {
    url, owner, starter, call, repository: name, folder: repo.folder, commit: repo.commit, privateHost: child && privateHost, machine,
    /** Adds a member, and returns a token of theirs. */
    async member(role = "member", email = `${unique("grace")}@example.com`) {
      const { invitation, secret } = await call(owner, "POST", "/v1/invitations", { email, role });
      const { token, member } = await call("", "POST", `/v1/invitations/${invitation.id}/accept`, { secret });
      return { token, email, id: member.id };
    },
    /** Deploys, and waits until the deployment has one of the states. */
    async deploy(/** @type {object} */ body, /** @type {string[]} */ states = ["succeeded", "failed"], token = owner) {
      let one = await call(token, "POST", `/v1/repositories/${name}/deployments`, body);
      for (const end = Date.now() + 60_000; !states.includes(one.status);
        one = await call(owner, "GET", `/v1/deployments/${one.id}`)) {
        if (Date.now() > end) throw new Error(`${one.id} is still ${one.status}`);
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      return one;
    },
    async stop() {
      if (child) {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        await ended;
      }
      rmSync(data, { recursive: true, force: true });
      rmSync(repo.folder, { recursive: true, force: true });
    },
  };
}
