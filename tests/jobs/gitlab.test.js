// GitLab's template, in jobs with ID tokens.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { exchanged, gitlab, held, setUp, until } from "./job.js";

const jobs = await setUp();
after(() => jobs.stop());

test("a deployment that succeeds is followed to its end, and later jobs get its variables", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const variables = JSON.stringify({ GREETING: `it's "quoted"` });
  const job = gitlab(jobs, { ...inputs, ref: "results", environment: "staging", variables });
  assert.equal(await job.ended, 0, job.output);
  const [deployment] = await jobs.deployments(inputs.trust);
  assert.equal((await jobs.deployment(deployment.id)).outputs.GREETING, `it's "quoted"`);
  assert.deepEqual(job.outputs(), {
    DEPLOYMENT_ID: deployment.id, DEPLOYMENT_URL: deployment.url, DEPLOYMENT_STATUS: "succeeded",
    ENVIRONMENT_URL: "https://example.com/pr-7",
  });
  assert.ok(job.output.includes("\ninstalled package 300\n"));
  assert.ok(!job.output.includes("dgt_"), "no token is shown");
  const asked = proxy.requests.length;
  assert.equal(await job.after("success").ended, 0);
  assert.equal(proxy.requests.length, asked);
});

test("the commit of the pipeline is deployed, and a build that fails fails the job", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const succeeded = gitlab(jobs, inputs);
  assert.equal(await succeeded.ended, 0, succeeded.output);
  const failed = gitlab(jobs, { ...inputs, ref: "broken" });
  assert.equal(await failed.ended, 1, failed.output);
  assert.match(failed.output, /ERROR: deploy_\w+ has failed with command_failed/);
  const [second, first] = await jobs.deployments(inputs.trust);
  assert.deepEqual([first.ref, second.ref], [jobs.sha("main"), "broken"]);
});

test("a job whose token ends, or whose ID token was used, goes on with its next ID token", async () => {
  const { proxy, inputs } = await jobs.prepare((request) => {
    if (request.path === "/v1/token" && request.number === 1) return "after";
    if (request.path.includes("/log") && request.number === 2) request.headers.authorization = "Bearer dgt_over";
  });
  const build = held();
  const job = gitlab(jobs, { ...inputs, ...build.inputs });
  await until(() => proxy.requests.filter(({ path }) => path.includes("/log")).length > 2);
  build.release();
  assert.equal(await job.ended, 0, job.output);
  const used = exchanged(proxy);
  assert.deepEqual(used, job.subjects.slice(0, 3));
});

test("a job without ID tokens that are left says so", async () => {
  const { proxy, inputs } = await jobs.prepare(({ path }) => path === "/v1/token" ? "after" : undefined);
  const job = gitlab(jobs, inputs);
  assert.equal(await job.ended, 1, job.output);
  assert.match(job.output, /ERROR: The job has no ID token that it has not used: give it SUBJECT_TOKEN_5 in 'id_tokens'/);
});

test("a job that is canceled cancels its deployment, and nothing is left to do after it", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = gitlab(jobs, { ...inputs, ref: "slow" });
  await job.prints("tick 1\n");
  job.signal("SIGTERM");
  await job.ended;
  const [deployment] = await jobs.deployments(inputs.trust);
  assert.ok(deployment.cancel_requested || deployment.status === "canceled", job.output);
  const asked = proxy.requests.length;
  assert.equal(await job.after("canceled").ended, 0);
  assert.equal(proxy.requests.length, asked);
});

test("a job that is killed leaves its deployment to what GitLab runs after it", async () => {
  const { proxy, inputs } = await jobs.prepare();
  const job = gitlab(jobs, { ...inputs, ref: "slow" });
  await job.prints("tick 1\n");
  job.signal("SIGKILL");
  await job.ended;
  const [deployment] = await jobs.deployments(inputs.trust);
  assert.equal(deployment.status, "in_progress");
  const later = job.after("canceled");
  assert.equal(await later.ended, 0);
  assert.ok(later.output.includes(`${deployment.id} is asked to stop`), later.output);
  const [canceled] = await jobs.deployments(inputs.trust);
  assert.ok(canceled.cancel_requested || canceled.status === "canceled");
  const used = exchanged(proxy);
  assert.deepEqual(used, [job.subjects[0], job.subjects.at(-1)]);
});
