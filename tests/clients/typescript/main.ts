// Deploys with the types that openapi-typescript generates from the OpenAPI document and the client openapi-fetch, and
// reports what it saw as JSON.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Status = components["schemas"]["Status"];
const FINAL: Status[] = ["succeeded", "failed", "canceled", "superseded"];

const setting = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is missing`);
  return value;
};
const client = (token: string) => {
  const headers = { Authorization: `Bearer ${token}` };
  return createClient<paths, "application/json">({ baseUrl: setting("API_URL"), headers });
};
const [owner, approver] = [client(setting("OWNER_TOKEN")), client(setting("APPROVER_TOKEN"))];
const limited = client(setting("LIMITED_TOKEN"));
const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

type Answer<T> = { data?: T; error?: components["schemas"]["ErrorEnvelope"]; response: Response };

/** Returns the body of an answer. Ends the program if the request was refused. */
function answered<T>({ data, error, response }: Answer<T>): T {
  if (data === undefined) throw new Error(`${response.status}: ${error?.error.message}`);
  return data;
}

const repositories = answered(await owner.GET("/v1/repositories"));
const repository = repositories.data.find(({ name }) => name === "frontend-app");
if (!repository) throw new Error("The repository is missing");

const deployment = answered(await owner.POST("/v1/repositories/{repo_id}/deployments", {
  params: { path: { repo_id: repository.id } }, body: { ref: "main", environment: "production" },
}));
const path = { deployment_id: deployment.id };
const { queue } = answered(await owner.GET("/v1/deployments/{deployment_id}", { params: { path } }));
const { sha, approval_digest } = deployment;
answered(await approver.POST("/v1/deployments/{deployment_id}/approve", {
  params: { path }, body: { sha, approval_digest },
}));

const lines: string[] = [];
for (let [after, complete] = [0, false]; !complete;) {
  const answer = await owner.GET("/v1/deployments/{deployment_id}/log", { params: { path, query: { after } } });
  const { data, meta } = answered(answer);
  lines.push(...data.map(({ text }) => text));
  ({ next_after: after, complete } = meta);
  await sleep(Number(answer.response.headers.get("X-Poll-Interval") ?? 0));
}
const { status } = answered(await owner.GET("/v1/deployments/{deployment_id}", { params: { path } }));
if (!FINAL.includes(status)) throw new Error(`The log is complete and the deployment is ${status}`);

const [artifact] = answered(await owner.GET("/v1/deployments/{deployment_id}/artifacts", { params: { path } })).data;
if (!artifact) throw new Error("There is no artifact");
const file = answered(await owner.GET("/v1/deployments/{deployment_id}/artifacts/{artifact_path}", {
  params: { path: { ...path, artifact_path: artifact.path } }, parseAs: "text",
}));

const unauthorized = await client("dgp_nobody").GET("/v1/repositories");
if (unauthorized.response.status !== 401) throw new Error(`${unauthorized.response.status}`);

let refused = await limited.GET("/v1/repositories");
while (refused.data) refused = await limited.GET("/v1/repositories");
if (refused.response.status !== 429) throw new Error(`${refused.response.status}`);
await sleep(Number(refused.response.headers.get("Retry-After")));
answered(await limited.GET("/v1/repositories"));

console.log(JSON.stringify({
  deployment: deployment.id, waited_for: queue?.blocked_by?.kind, status, log: lines, artifact: file,
  unauthorized: unauthorized.error?.error.code, limited: refused.error?.error.code,
}));
