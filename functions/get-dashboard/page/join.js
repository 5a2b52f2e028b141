// Joins an account: with an invitation's link, or as a person who signed in and belongs to no account yet.

import { change, get } from "./api.js";
import { h, typed } from "./dom.js";
import { form, once } from "./form.js";
import { loaded } from "./list.js";
import { go } from "./route.js";
import { button, dots, empty, heading, row, time } from "./ui.js";

/**
 * Shows the account to join.
 * @param {View} screen
 */
export function join(screen) {
  const link = new URLSearchParams(location.hash.slice(1));
  const [id, secret] = [link.get("invitation"), link.get("secret")];
  return h("div", { class: "narrow" }, id && secret ? byLink(id, secret) : bySignIn(screen));
}

/**
 * Accepts an invitation with its secret, which makes a user with a first token.
 * @param {string} id
 * @param {string} secret
 */
function byLink(id, secret) {
  return [heading("You are invited"), form(
    h("p", null, "Accept to become a member of the account that invited you. You get a first personal access token, and are signed in with it. The link works once."),
    "Accept the invitation", async () => {
      const { token } = await change("POST", `/v1/invitations/${encodeURIComponent(id)}/accept`, { secret });
      history.replaceState(null, "", "/join");
      await change("POST", "/v1/session", { token });
      await once("Your first token",
        "Copy the token now: it is not shown again. Use it to sign in and to call the API. It expires after 90 days.",
        token);
      go("/", { replace: true });
    })];
}

/** @param {View} screen */
function bySignIn(screen) {
  const enter = async (/** @type {object} */ body) => {
    await change("POST", "/v1/user/join", body);
    go("/", { replace: true });
  };
  const leave = async () => {
    await change("DELETE", "/v1/session");
    go("/sign-in", { replace: true });
  };
  return [heading("Join an account", button("Sign out", leave)),
    loaded(screen, () => get("/v1/user/invitations", screen.signal),
      (/** @type {Openings} */ { data, domain_account: domain, email }) => {
    if (!data.length && !domain) return empty("person", "No invitation yet",
      ["Nobody has invited ", typed(email),
        " yet. Ask an owner or admin of your account for an invitation to this address, then come back."],
      button("Look again", () => location.reload()));
    return [h("p", null, "You are signed in as ", h("strong", null, typed(email)),
        " and belong to no account yet. A person belongs to one account."),
      domain && form(h("p", null, "The account ", h("strong", null, typed(domain.slug)),
          " claims the domain of your address."), `Join ${domain.slug}`, () => enter({})),
      data.length > 0 && h("ul", { class: "rows", "aria-label": "Invitations" }, data.map((one) =>
        row(one.id, typed(one.account.slug), dots(`As ${one.role}`, ["Expires ", time(one.expires_at)]),
          form([], `Join ${one.account.slug}`, () => enter({ invitation_id: one.id })))))];
  })];
}
