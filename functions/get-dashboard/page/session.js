// Who is signed in, and what they may do. The API decides; this only tells beforehand what it will refuse, and why.

import { call, get, page } from "./api.js";

/** @type {Caller | null} */
let current = null;
/** The names of the account's members. @type {Promise<Actors> | undefined} */
let people;

/** The caller. Screens exist only while somebody is signed in. */
export const me = () => /** @type {Caller} */ (current);

/** Reads the caller from the API.
 * @param {AbortSignal} [signal] */
export async function load(signal) {
  current = await get("/v1/user", signal);
  people = undefined;
}

/** Ends the session. */
export async function signOut() {
  await call("DELETE", "/v1/session");
  current = null;
}

const RANK = { member: 0, admin: 1, owner: 2 };

/**
 * Returns the reason why the caller may not do something, or null if nothing is known against it.
 * @param {Scope} scope the scope that the request needs
 * @param {Role} [role] the least role that the request needs
 */
export function refusal(scope, role = "member") {
  if (!me().scopes.includes(scope)) return `You signed in with a token that lacks the scope ${scope}.`;
  const own = me().user?.role ?? "member";
  if (RANK[own] < RANK[role]) return role === "owner" ? "Only an owner can do this."
    : "Only owners and admins can do this.";
  return null;
}

/** Returns the names of the account's members, for lists that have ids alone. They are read once. Without them ids are shown. */
export const names = () => (people ??= refusal("account:read") ? Promise.resolve({})
  : page("/v1/members?per_page=100").then(({ items }) => Object.fromEntries(items.map((one) => [one.id, one])), () => ({})));

/**
 * Returns the name of whoever an id stands for.
 * @param {string | null | undefined} id
 * @param {Actors} [actors]
 */
export function nameOf(id, actors = {}) {
  if (!id) return "the system";
  if (id === me().user?.id) return "you";
  return actors[id]?.name ?? actors[id]?.email ?? id;
}

/** The permissions on a repository. Each includes those before it. @type {Repository["permission"][]} */
const LEVELS = ["read", "deploy", "admin"];

/**
 * Returns why the caller lacks a permission on a repository, or null.
 * @param {Repository} repository
 * @param {"deploy" | "admin"} needed
 * @param {Scope} scope the scope that the request needs
 */
export function lacks({ permission }, needed, scope) {
  const refused = refusal(scope);
  if (refused || LEVELS.indexOf(permission) >= LEVELS.indexOf(needed)) return refused;
  return `You need the permission “${needed}” on this repository; you have “${permission}”. An admin can grant it to one of your teams.`;
}
