// The API's types, as the modules of functions/get-dashboard/page name them in JSDoc.

import type { components } from "openapi";

type Schemas = components["schemas"];

declare global {
  type Child = Node | string | number | null | undefined | false;
  type Children = Child | readonly Children[];
  type IconName = keyof typeof import("../../functions/get-dashboard/page/dom.js").ICONS;

  /** The names of users and applications whose ids an answer has. */
  type Actors = Record<string, { name?: string | null; email?: string | null }>;
  /** Takes no type but `never`. */
  type Never<T extends never> = T;
  type Page<T = any> = { items: T[]; total: number | null; actors: Actors; next: string | null; previous: string | null };

  type Account = Schemas["Account"];
  type Application = Schemas["Application"];
  type Artifact = Schemas["Artifact"];
  type AuditEvent = Schemas["AuditEvent"];
  type Caller = Schemas["Caller"];
  type Connection = Schemas["Connection"];
  type ConnectionCheck = Schemas["ConnectionCheck"];
  type Delivery = Schemas["Delivery"];
  type EnvironmentState = Schemas["EnvironmentState"];
  type DeploymentEvent = Schemas["Event"];
  type FreezeWindow = Schemas["FreezeWindow"];
  type Hook = Schemas["Hook"];
  type Invitation = Schemas["Invitation"];
  type LogLine = Schemas["LogLine"];
  type Member = Schemas["Member"];
  type Openings = Schemas["Openings"];
  type Preflight = Schemas["Preflight"];
  type RateLimit = Schemas["RateLimit"];
  type Repository = Schemas["Repository"];
  type Role = Schemas["Role"];
  type Scope = Schemas["Scope"];
  type Status = Schemas["Status"];
  type Team = Schemas["Team"];
  type TeamMember = Schemas["TeamMember"];
  type TeamRepository = Schemas["TeamRepository"];
  type Token = Schemas["Token"];
  type Deployment = Schemas["Deployment"] & {
    actors?: Actors;
    commit?: { sha: string | null; subject: string | null; author: string | null } | null;
    repository?: { id: string; name: string; full_name: string };
  };
  type Session = Schemas["Session"];
  type SignIn = Schemas["SignIn"];
  type Trust = Schemas["Trust"];
  type Variable = Schemas["Variable"];
  type Webhook = Schemas["Webhook"];
  type WebhookDelivery = Schemas["WebhookDelivery"];
  /** What a screen gets: the parts of its path, the query, and a signal that aborts when the screen is left. */
  type View = { params: Record<string, string>; query: URLSearchParams; signal: AbortSignal };
}
