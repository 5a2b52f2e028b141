// Converts the OpenAPI document to a Postman collection, runs some of its requests as they are, and reports what it saw
// as JSON. Only the two variables of the collection and the paths' parameters are filled in, as a person would do it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import newman from "newman";
import postman from "openapi-to-postmanv2";

const data = readFileSync(process.env.DOCUMENT, "utf8");
const convert = promisify(postman.convert);
const run = promisify(newman.run);
const options = { folderStrategy: "Tags", requestParametersResolution: "Example", enableOptionalParameters: false };

const converted = await convert({ type: "string", data }, options);
assert.ok(converted.result, converted.reason);
const [{ data: collection }] = converted.output;
const requests = collection.item.flatMap((folder) => folder.item);
const { paths } = JSON.parse(data);
assert.equal(requests.length, Object.values(paths).flatMap(Object.keys).length, "each operation is a request");

let deployment;
const codes = {};
for (const name of ["List repositories", "Get a repository", "Create a deployment", "Get a deployment",
  "List a deployment's events", "List environments", "Get the rate limit"]) {
  const item = requests.find((request) => request.name === name);
  assert.ok(item, `There is no request "${name}", but ${requests.map((request) => request.name)}`);
  for (const parameter of item.request.url.variable ?? []) {
    parameter.value = { repo_id: "frontend-app", deployment_id: deployment }[parameter.key];
  }
  const { API_URL: api, OWNER_TOKEN: token } = process.env;
  const envVar = [{ key: "baseUrl", value: api }, { key: "bearerToken", value: token }];
  const { run: { executions: [{ response }] } } = await run({ collection: { ...collection, item: [item] }, envVar });
  codes[name] = response.code;
  if (name === "Create a deployment") deployment = response.json().id;
}
console.log(JSON.stringify({ deployment, codes }));
