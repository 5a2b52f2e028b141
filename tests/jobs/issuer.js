// An OpenID provider that gives jobs their ID tokens, as GitHub's and GitLab's do.

import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer } from "node:http";

const base64 = (/** @type {object} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");

export async function startIssuer() {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = { ...publicKey.export({ format: "jwk" }), kid: "one", alg: "RS256", use: "sig" };
  const requestToken = randomUUID();
  let url = "";

  /** Returns an ID token of a job of the repository `acme/app`. */
  const idToken = (/** @type {string} */ audience, claims = {}) => {
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: url, aud: audience, sub: "repo:acme/app:ref:refs/heads/main", repository: "acme/app",
      jti: randomUUID(), iat: now, exp: now + 300, ...claims };
    const signed = `${base64({ alg: "RS256", kid: key.kid, typ: "JWT" })}.${base64(all)}`;
    return `${signed}.${sign("sha256", Buffer.from(signed), privateKey).toString("base64url")}`;
  };

  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? "", url);
    const answers = {
      "/.well-known/openid-configuration": () => ({ issuer: url, jwks_uri: `${url}/keys` }),
      "/keys": () => ({ keys: [key] }),
      "/id-token": () => request.headers.authorization === `Bearer ${requestToken}`
        && { value: idToken(asked.searchParams.get("audience") ?? "") },
    };
    const body = answers[/** @type {keyof typeof answers} */ (asked.pathname)]?.();
    response.writeHead(body ? 200 : 404, { "Content-Type": "application/json" }).end(JSON.stringify(body || {}));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
  const stop = () => server.close().closeAllConnections();
  return { url, idToken, requestToken, requestUrl: `${url}/id-token?api-version=2.0`, stop };
}
