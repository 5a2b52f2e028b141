// Who is signed in, and what they may do. The API decides; this only tells beforehand what it will refuse, and why.

import { call, get } from "./api.js";

/** @type {Caller | null} */
let current = null;

/** The caller. Screens exist only while somebody is signed in. */
export const me = () => /** @type {Caller} */ (current);

/** Reads the caller from the API.
 * @param {AbortSignal} [signal] */
export async function load(signal) {
  current = await get("/v1/user", signal);
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

/**
 * The caller's permission on repositories, once it is known.
 * @type {Promise<(repository: string) => "none" | "read" | "deploy" | "admin">} */
let permissions;

/**
 * Returns why the caller lacks a permission on a repository, or null. A member's permission is the highest of the account's
 * base permission and those of the member's teams.
 * @param {string} repository the repository's id
 * @param {"deploy" | "admin"} permission
 * @param {Scope} scope
 */
export async function lacks(repository, permission, scope) {
  const refused = refusal(scope);
  if (refused) return refused;
  permissions ??= grants();
  const levels = ["none", "read", "deploy", "admin"];
  const own = (await permissions)(repository);
  if (levels.indexOf(own) >= levels.indexOf(permission)) return null;
  return `You need the permission “${permission}” on this repository; you have “${own}”. An admin can grant it to one of your teams.`;
}

/** @returns {typeof permissions} */
async function grants() {
  if (!me().user || me().user?.role !== "member") return () => "admin";
  try {
    const { base_permission: base } = await get("/v1/account");
    const levels = ["none", "read", "deploy", "admin"];
    /** @type {Map<string, string>} */
    const granted = new Map();
    const teams = base === "admin" ? [] : (await get("/v1/teams?per_page=100")).data;
    for (const { id } of teams) {
      for (const { repository, permission } of (await get(`/v1/teams/${id}/repositories?per_page=100`)).data) {
        if (levels.indexOf(permission) > levels.indexOf(granted.get(repository.id) ?? base)) granted.set(repository.id,
          permission);
      }
    }
    return (repository) => /** @type {"read"} */ (granted.get(repository) ?? base);
  } catch {
    // The session can't read teams. The API then tells what it refuses.
    return () => "admin";
  }
}
