// A real OpenID provider for tests/oauth.rs and tests/trusts.rs: https://github.com/panva/node-oidc-provider. Takes its accounts' claims as JSON,
// and tells its issuer on stdout once it listens. Whoever `login_hint` names is logged in and consents.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { Provider } from 'oidc-provider';

const accounts = JSON.parse(process.argv[2]);
const audience = 'https://api.git.dev';
const scopes = ['repositories', 'deployments', 'tokens', 'account'].flatMap((it) => [`${it}:read`, `${it}:write`]);

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
const jwk = { ...key, kid: 'signing', alg: 'RS256', use: 'sig' };

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'web',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code'],
      response_types: ['code'],
    },
    {
      client_id: 'ci',
      client_secret: 'a secret that is for tests only',
      redirect_uris: [],
      grant_types: ['client_credentials'],
      response_types: [],
    },
  ],
  jwks: { keys: [jwk] },
  cookies: { keys: ['tests'] },
  scopes: ['openid', 'email', ...scopes],
  // The ID token of a job tells more than whose it is.
  claims: { openid: ['sub', 'repository', 'ref', 'project_path', 'ref_type', 'ref_protected'], email: ['email', 'email_verified'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: scopes.join(' '), audience, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
    },
  },
});

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    const result = { login: { accountId: params.login_hint } };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
  for (const [resource, missing] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, missing.join(' '));
  }
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

// The library's own takes no access token that is for a resource server; most providers do.
async function userinfo(request, response) {
  const { d, p, q, dp, dq, qi, ...publicKey } = jwk;
  try {
    const token = request.headers.authorization.replace('Bearer ', '');
    const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: [publicKey] }), { issuer, audience });
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ sub: payload.sub, ...accounts[payload.sub] }));
  } catch {
    response.writeHead(401).end();
  }
}

const others = provider.callback();
server.on('request', (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    return interact(request, response).catch((error) => response.writeHead(400).end(String(error)));
  }
  return request.url === '/me' ? userinfo(request, response) : others(request, response);
});
console.log(JSON.stringify({ issuer }));
