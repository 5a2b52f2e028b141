// The GitHub Action, in jobs with an ID token.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { exchanged, github, held, setUp, until } from "./job.js";

const jobs = await setUp();
after(() => jobs.stop());

const FOLLOWED = /^\/v1\/deployments\/deploy_\w+$/;

test("a deployment that succeeds is followed to its end, and its log is shown once", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = github(jobs, { ...inputs, ref: "results", environment: "staging", variables: '{"GREETING": "hello"}' });
  assert.equal(await job.ended, 0, job.output);
  const [deployment, ...others] = await jobs.deployments(inputs.trust);
  assert.deepEqual([deployment.environment, deployment.ref, others], ["staging", "results", []]);
  assert.equal((await jobs.deployment(deployment.id)).outputs.GREETING, "hello");
  assert.deepEqual(job.outputs(), {
    deployment_id: deployment.id, url: deployment.url, status: "succeeded", environment_url: "https://example.com/pr-7",
  });
  const { text, commands } = job.shown();
  const log = await jobs.stack.call(jobs.stack.owner, "GET", `/v1/deployments/${deployment.id}/log?limit=1000`);
  const lines = log.data.map((/** @type {any} */ line) => line.text);
  assert.ok(lines.length > 300);
  assert.deepEqual(text.filter((line) => lines.includes(line)), lines);
  assert.ok(text.some((line) => line.includes(`${deployment.id} is succeeded`)), job.output);
  assert.deepEqual(commands.map((line) => line.replace(/dgt_\w+/, "dgt_")), ["::add-mask::dgt_"]);
  assert.equal(job.output.split("dgt_").length, 2, "the token is nowhere else");
  const [first, ...rest] = proxy.requests.filter(({ path }) => FOLLOWED.test(path));
  assert.equal(first.headers["if-none-match"], undefined);
  assert.ok(rest.length > 0 && rest.every(({ headers }) => headers["if-none-match"]));
});

test("the API is not asked again before its interval is over", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const build = held();
  const job = github(jobs, { ...inputs, ...build.inputs });
  await job.prints("step 1\n");
  const [{ id }] = await jobs.deployments(inputs.trust);
  assert.equal((await jobs.deployment(id)).status, "in_progress", "the log comes as it is written");
  await until(() => proxy.requests.some(({ path, status }) => FOLLOWED.test(path) && status === 304));
  build.release();
  assert.equal(await job.ended, 0, job.output);
  const polls = proxy.requests.filter(({ path }) => FOLLOWED.test(path));
  for (const [at, poll] of polls.slice(1).entries()) {
    const interval = Number(polls[at].answer?.get("x-poll-interval"));
    assert.ok(interval >= 2 && poll.at - polls[at].at >= interval * 1000 - 50, `${poll.at - polls[at].at} ms`);
  }
});

test("a build that fails fails the step, and the reason is an annotation", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = github(jobs, { ...inputs, ref: "broken" });
  assert.equal(await job.ended, 1, job.output);
  assert.equal(job.outputs().status, "failed");
  assert.match(job.shown().commands.at(-1) ?? "", /^::error::deploy_\w+ has failed with command_failed: .*status 3/);
});

test("a line of the log is no command to the runner", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = github(jobs, { ...inputs, ref: "commands" });
  assert.equal(await job.ended, 0, job.output);
  const { text, commands } = job.shown();
  assert.ok(text.includes("::error::told by the log"));
  assert.deepEqual(commands.filter((line) => !line.startsWith("::add-mask::")), []);
});

test("the commit of the push is deployed unless a ref is given, and nobody waits who does not want to", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = github(jobs, { ...inputs, wait: "false" });
  assert.equal(await job.ended, 0, job.output);
  const [deployment] = await jobs.deployments(inputs.trust);
  assert.deepEqual([deployment.ref, deployment.environment], [jobs.sha("main"), "preview"]);
  const { id, url } = deployment;
  assert.deepEqual(job.outputs(), { deployment_id: id, url, status: "queued", environment_url: "" });
  assert.deepEqual(proxy.requests.map(({ method, path }) => `${method} ${path}`),
    ["POST /v1/token", `POST /v1/repositories/${inputs.repository}/deployments`]);
});

test("a request that a run repeats deploys once, and a new attempt or another body deploys again", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const run = { GITHUB_RUN_ID: "4711" };
  const attempt = { GITHUB_RUN_ATTEMPT: "2" };
  for (const [more, variables] of [[{}, {}], [{}, {}], [{}, attempt], [{ environment: "staging" }, {}]]) {
    const job = github(jobs, { ...inputs, ...more, wait: "false" }, { ...run, ...variables });
    assert.equal(await job.ended, 0, job.output);
  }
  const environments = (await jobs.deployments(inputs.trust)).map(({ environment }) => environment);
  assert.deepEqual(environments, ["staging", "preview", "preview"]);
});

test("a lost connection costs a repetition and no second deployment", async () => {
  const lost = new Map([["POST /v1/token 1", "after"], ["POST /v1/repositories 1", "after"],
    ["POST /v1/repositories 2", "before"], ["GET /v1/deployments 1", "before"], ["GET /v1/deployments 3", 503]]);
  const { proxy, inputs } = await jobs.prepare(({ method, path, number }) =>
    lost.get(`${method} ${path.split("/").slice(0, 3).join("/")} ${number}`));
  const build = held();
  const job = github(jobs, { ...inputs, ...build.inputs });
  const polls = () => proxy.requests.filter(({ path }) => FOLLOWED.test(path));
  await until(() => polls().some(({ status }, at) => status === 503 && polls()[at + 1]));
  build.release();
  assert.equal(await job.ended, 0, job.output);
  assert.equal((await jobs.deployments(inputs.trust)).length, 1);
  const creations = proxy.requests.filter(({ method, path }) => method === "POST" && path.startsWith("/v1/repositories"));
  assert.deepEqual(new Set(creations.map(({ headers }) => headers["idempotency-key"])).size, 1);
  assert.equal(creations.at(-1)?.answer?.get("idempotent-replayed"), "true");
  // The first exchange took place, so its ID token is used.
  assert.equal(new Set(exchanged(proxy)).size, 2);
  const [unavailable, next] = polls().slice(polls().findIndex(({ status }) => status === 503));
  assert.ok(next.at - unavailable.at >= 1950, "Retry-After is two seconds");
  const steps = job.shown().text.filter((line) => line.startsWith("step "));
  assert.deepEqual(steps, Array.from({ length: 20 }, (_, at) => `step ${at + 1}`));
});

test("a token that ends in the middle is exchanged anew", async () => {
  const { proxy, inputs } = await jobs.prepare((request) => {
    if (request.path.includes("/log") && request.number === 2) request.headers.authorization = "Bearer dgt_over";
  });
  const build = held();
  const job = github(jobs, { ...inputs, ...build.inputs });
  const statuses = () => proxy.requests.filter(({ path }) => path.includes("/log")).map(({ status }) => status);
  await until(() => statuses().length > 3);
  build.release();
  assert.equal(await job.ended, 0, job.output);
  assert.deepEqual(statuses().slice(0, 4), [200, 401, 200, 200]);
  assert.equal(job.shown().commands.length, 2, "both tokens are hidden");
});

test("a request that is refused for the rate limit is sent again when the API says so", async () => {
  const limited = ["/v1/token 1", `/v1/repositories/${jobs.stack.repository}/deployments 1`];
  const { proxy, inputs } = await jobs.prepare(({ path, number }) => {
    if (limited.includes(`${path} ${number}`)) return 429;
  });
  const job = github(jobs, inputs);
  assert.equal(await job.ended, 0, job.output);
  for (const route of ["/v1/token", "/deployments"]) {
    const [refused, repeated] = proxy.requests.filter(({ method, path }) => method === "POST" && path.endsWith(route));
    assert.deepEqual([refused.status, repeated.status], [429, route === "/v1/token" ? 200 : 201]);
    assert.ok(repeated.at - refused.at >= 1950, "Retry-After is two seconds");
  }
});

for (const [signal, status] of /** @type {const} */ ([["SIGINT", 130], ["SIGTERM", 143]])) {
  test(`a job that is canceled with ${signal} cancels its deployment`, async () => {
    const { proxy, inputs } = await jobs.prepare();
    const job = github(jobs, { ...inputs, ref: "slow" });
    await job.prints("tick 1\n");
    job.signal(signal);
    assert.equal(await job.ended, status, job.output);
    const [deployment] = await jobs.deployments(inputs.trust);
    assert.ok(deployment.cancel_requested || deployment.status === "canceled", JSON.stringify(deployment));
    assert.ok(job.output.includes(`${deployment.id} is asked to stop`), job.output);
    });
}

test("a job that is canceled while the creation is under way cancels what was created", async () => {
  /** @type {ReturnType<typeof github>} */
  let job;
  const { proxy, inputs } = await jobs.prepare(({ method, path, number }) => {
    if (method !== "POST" || !path.endsWith("/deployments") || number > 1) return;
    job.signal("SIGINT");
    return "after";
  });
  job = github(jobs, { ...inputs, ref: "slow" });
  assert.equal(await job.ended, 130, job.output);
  const [deployment, ...others] = await jobs.deployments(inputs.trust);
  assert.deepEqual(others, []);
  assert.ok(deployment.cancel_requested || deployment.status === "canceled", JSON.stringify(deployment));
});

test("a request that can't succeed ends the step at once, and the message says why", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const { inputs: others } = await jobs.prepare(undefined, { claims: { repository: "acme/other" }, audience: proxy.url });
  for (const [changes, variables, message] of /** @type {[Record<string, string>, Record<string, string>, RegExp][]} */ ([
    [{ repository: "missing" }, {}, /POST \/v1\/repositories\/missing\/deployments: .*not/],
    [{ ref: "missing" }, {}, /missing/],
    [{ environment: "missing" }, {}, /environment/],
    [{ variables: "NAME=value" }, {}, /'variables' is no JSON/],
    [{ wait: "yes" }, {}, /'wait' must be true or false/],
    [{ trust: "" }, {}, /'trust' is missing/],
    [{ trust: others.trust }, {}, /does not take the job's ID token: .*repository/],
    [{}, { ACTIONS_ID_TOKEN_REQUEST_URL: "" }, /id-token: write/],
    [{}, { ACTIONS_ID_TOKEN_REQUEST_TOKEN: "another" }, /GitHub gave the job no ID token: status 404/],
  ])) {
    const job = github(jobs, { ...inputs, ...changes }, variables);
    assert.equal(await job.ended, 1, job.output);
    const error = job.shown().commands.at(-1) ?? "";
    assert.match(error, /^::error::/);
    assert.match(error, message);
  }
  assert.deepEqual(await jobs.deployments(inputs.trust), []);
});
