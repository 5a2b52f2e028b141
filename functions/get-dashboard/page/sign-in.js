// Signs in with a pasted token, or at the account's identity provider with an authorization code and PKCE (RFC 7636).

import { change, get } from "./api.js";
import { h } from "./dom.js";
import { field, form, input } from "./form.js";
import { go } from "./route.js";
import { button, failure, heading, loading } from "./ui.js";

const STATE = "sign-in-state";
const VERIFIER = "sign-in-verifier";
const NEXT = "sign-in-next";
/** Tells the other tabs of the dashboard that somebody signed in. */
const CHANNEL = "session";

/** @param {Uint8Array} bytes */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Remembers where to go after signing in.
 * @param {string} path */
export const remember = (path) => sessionStorage.setItem(NEXT, path);

/**
 * Sends the browser to the identity provider.
 * @param {NonNullable<SignIn["oauth2"]>} provider
 */
async function authorize(provider) {
  const [state, verifier] = [random(), random()];
  sessionStorage.setItem(STATE, state);
  sessionStorage.setItem(VERIFIER, verifier);
  const challenge = base64url(new Uint8Array(await crypto.subtle.digest("SHA-256",
        new TextEncoder().encode(verifier))));
  const url = new URL(provider.authorization_endpoint);
  const query = { response_type: "code", client_id: provider.client_id, redirect_uri: provider.redirect_uri,
    scope: provider.scopes.join(" "), state, code_challenge: challenge, code_challenge_method: "S256" };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  location.assign(url);
}

/**
 * Makes a session.
 * @param {object} body
 * @returns {Promise<{user: Caller | null}>}
 */
const session = (body) => change("POST", "/v1/session", body);

/**
 * Creates what one signs in with: a button for the identity provider, and a form for a token.
 * @param {(session: {user: Caller | null}) => void} done
 * @param {boolean} [inDialog] the provider's page then opens in a window of its own, so that this one keeps its state
 */
export function methods(done, inDialog) {
  const place = h("div", null, loading(2));
  const show = async () => {
    try {
      /** @type {SignIn} */
      const { methods: offered, oauth2 } = await get("/v1/sign-in");
      place.replaceChildren(...[
        oauth2 && offered.includes("oauth2") && h("div", { class: "provider" },
          button("Sign in with your identity provider",
            () => (inDialog ? window.open("/sign-in?window", "_blank") : authorize(oauth2)), { kind: "primary" }),
          h("p", { class: "hint" },
            inDialog ? "Opens a new tab. Come back to this one after you signed in."
            : `Opens ${new URL(oauth2.issuer).host}.`)),
        oauth2 && offered.includes("token") && h("p", { class: "or" }, "or"),
        offered.includes("token") && form(
          field("Personal access token",
            input("token", { type: "password", required: true, placeholder: "dgp_…", autocomplete: "off" }),
            "The browser does not keep the token: it is exchanged for a session of at most seven days."),
          "Sign in with a token", async (values) => done(await session({ token: `${values.get("token")}`.trim() })),
          { kind: oauth2 ? "" : "primary" }),
      ].filter((part) => part instanceof Node));
    } catch (error) {
      place.replaceChildren(failure(error, show));
    }
  };
  show();
  return place;
}

/**
 * Resolves when somebody signs in, in any tab.
 * @param {AbortSignal} signal
 * @param {() => void} done
 */
export function onSignIn(signal, done) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = done;
  signal.addEventListener("abort", () => channel.close());
}

/**
 * Shows the screen on which one signs in, and finishes what the identity provider or a link with a token began.
 * @param {View} screen
 */
export function signIn({ query }) {
  const place = h("div", { class: "place" });
  const error = h("div", { class: "problem", role: "alert", hidden: true });
  const done = (/** @type {{user: Caller | null}} */ { user }) => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage("signed in");
    channel.close();
    const next = sessionStorage.getItem(NEXT) ?? "/";
    sessionStorage.removeItem(NEXT);
    if (!user) return go("/join", { replace: true });
    if (next === "close") return place.replaceChildren(h("p", null,
        "You are signed in. Close this tab and go on in the other one.")), close();
    go(next, { replace: true });
  };
  const ask = (/** @type {unknown} */ problem) => {
    if (problem) {
      error.textContent = problem instanceof Error ? problem.message : `${problem}`;
      error.hidden = false;
    }
    place.replaceChildren(error, methods(done));
  };
  if (query.has("window")) remember("close");

  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  const code = query.get("code");
  const [state, verifier] = [sessionStorage.getItem(STATE), sessionStorage.getItem(VERIFIER)];
  // Neither a code nor a token stays in the address bar or in the history.
  if (location.hash || location.search) history.replaceState(null, "", "/sign-in");
  sessionStorage.removeItem(STATE);
  sessionStorage.removeItem(VERIFIER);
  if (token) {
    place.replaceChildren(loading(1));
    session({ token }).then(done, ask);
  } else if (query.has("error")) {
    ask(query.get("error_description") ?? "The identity provider refused to sign you in.");
  } else if (code && (!verifier || !state || state !== query.get("state"))) {
    ask("This sign-in was started in another tab, or too long ago. Sign in again.");
  } else if (code) {
    place.replaceChildren(loading(1));
    // The redirect URI is the one that the provider was asked with.
    get("/v1/sign-in").then(({ oauth2 }) =>
      session({ code, code_verifier: verifier, redirect_uri: oauth2.redirect_uri })).then(done, ask);
  } else ask(null);
  return h("div", { class: "narrow" }, heading("Sign in"), place);
}
