// A deployment: its state, what it waits for, its approvals, its timeline and its log.

import { change, get } from "./api.js";
import { active, repeated, repetition, versions, waits } from "./deployments.js";
import { h, icon, kept, morph, typed } from "./dom.js";
import { ask, field } from "./form.js";
import { live } from "./list.js";
import { log } from "./log.js";
import { artifacts, commands, results } from "./results.js";
import { go } from "./route.js";
import { lacks, me, nameOf, refusal } from "./session.js";
import { button, copyable, dots, elapsed, empty, facts, heading, opened, section, short, spoken, status,
  time } from "./ui.js";

/** What to do about each way to fail. @type {Record<NonNullable<Deployment["failure"]>["code"], string>} */
const HINTS = {
  source_unavailable: "Check that the commit still exists and that the git host can be reached, then retry.",
  buildspec_missing: "Add a buildspec.yml to the root of the repository and deploy the new commit, or choose another path in the repository's settings.",
  root_folder_missing: "Choose a root folder that the commit has, in the repository's settings.",
  buildspec_invalid: "Correct the buildspec.yml and deploy the new commit.",
  variables_missing: "Deploy again with the variables that the buildspec takes from AWS.",
  command_failed: "The log shows the command and what it wrote.",
  build_stopped: "Somebody stopped the build in CodeBuild. Retry the deployment.",
  build_fault: "Retry. If CodeBuild fails again, tell the operator.",
  machine_not_allowed: "Choose another build machine in the settings of the environment or its repository.",
  variables_too_large: "Remove secret variables or shorten their values, then deploy again.",
  artifacts_missing: "Check the buildspec’s artifacts: no file matches them.",
  artifact_invalid: "Leave the file out of the buildspec’s artifacts, or give it another name.",
  shell_missing: "Use the shell sh in the buildspec, or another runner.",
  artifacts_too_large: "Name fewer files in the buildspec’s artifacts.",
  timed_out: "Raise the environment’s time limit, or make the build faster.",
  run_deadline: "Retry. If it happens again, raise the environment’s time limit.",
  runner_lost: "Retry. If it happens again, tell the operator.",
  requirement_not_met: "Deploy the commit to the required environment with success, then retry.",
  rejected: "Settle the reason with the person who rejected it, then deploy again.",
  approval_mismatch: "Retry the deployment and have it approved again.",
  approval_expired: "Deploy again.",
  queue_deadline: "It waited too long. Deploy again.",
};

/**
 * Shows a deployment and follows it to its end.
 * @param {View} screen
 */
export function deployment(screen) {
  const { params: { id }, signal } = screen;
  /** @type {Deployment | undefined} */
  let current;
  /** @type {HTMLElement | undefined} */
  let logView;
  /** @type {HTMLElement | undefined} */
  let files;
  /** @type {Repository | undefined} */
  let repository;
  const timeline = h("div", { class: "place", "data-key": "timeline", "data-kept": true });
  let seen = "";
  let asked = 0;
  /** The commands of the build, once it has ended. @type {DeploymentEvent["commands"]} */
  let ran = [];
  const events = async (/** @type {Actors} */ actors) => {
    const mine = ++asked;
    /** @type {{data: DeploymentEvent[], actors?: Actors}} */
    const { data, actors: more } = await get(`/v1/deployments/${id}/events?limit=100`, signal);
    // A slow answer does not replace a later one.
    if (mine !== asked) return;
    const lines = h("ol", { class: "timeline" }, data.map((event) => eventLine(event, { ...actors, ...more })));
    timeline.firstChild ? morph(timeline.firstChild, lines) : timeline.append(lines);
    ran = data.flatMap((event) => event.commands);
    if (ran.length) place.redraw();
  };
  const place = live(screen, () => `/v1/deployments/${id}`, (/** @type {Deployment} */ one, reload) => {
    const now = `${one.updated_at} ${one.status} ${one.approvals.given_by.length}`;
    if (now !== seen) events(one.actors ?? {}).catch(() => {});
    seen = now;
    if (!current) get(`/v1/repositories/${one.repository_id}`,
      signal).then((found) => ((repository = found), place.redraw()), () => {});
    current = one;
    if (one.status !== "queued" || one.started_at) logView ??= log(screen, id,
      () => Boolean(current && active(current.status)));
    if (one.started_at && one.finished_at) files ??= artifacts(screen, id);
    document.title = `#${one.number} ${one.ref} → ${one.environment} · .git`;
    const { commit } = one;
    const refused = repository ? lacks(repository, "deploy", "deployments:write") : refusal("deployments:write");
    const admin = repository ? lacks(repository, "admin", "repositories:write") : "";
    return [
      heading([repository && typed(repository.name), ` #${one.number}`], [opened(one), offered(one, refused, admin, reload)], dots(
        status(one), commit?.subject && h("span", { class: "strong" }, typed(commit.subject)),
          repository && h("a", { href: `/repositories/${repository.name}` }, "Repository"),
          [typed(one.ref), " → ", one.environment], [short(one.sha), commit?.author && [" by ", typed(commit.author)]],
        ["Created ", time(one.created_at), " by ", typed(nameOf(one.created_by, one.actors))],
        one.started_at && elapsed(one.started_at, one.finished_at),
        one.origin && [one.origin.kind === "retry" ? "Retries " : "Rolls back to ",
          h("a", { href: `/deployments/${one.origin.deployment_id}` }, `#${one.origin.number}`)])),
      one.failure && h("div", { class: "callout bad", role: "note" }, icon("cross"),
        h("div", null, h("p", null, h("strong", null, spoken(one.failure.code)), ": ",
            typed(one.failure.message)),
        h("p", { class: "muted" }, HINTS[one.failure.code] ?? ""))),
      one.commit_status_error && h("div", { class: "callout wait", role: "note" }, icon("clock"),
        h("div", null, h("p", null, h("strong", null, "The git host does not show this status"), ": ",
          typed(one.commit_status_error)))),
      one.reachable === false && h("div", { class: "callout wait", role: "note" }, icon("warn"), h("p", null,
        "No branch or tag had this commit. It may be one of a fork.")),
      (one.status === "queued" || one.queue) && waiting(one),
      (one.approvals.required > 0 || Boolean(one.variables?.length)) && approvals(one, refused, reload),
      one.override && h("div", { class: "callout wait", role: "note" }, icon("warn"), h("p", null,
        h("strong", null, "Overrides the rules of the environment"), ": ", typed(one.override.reason))),
      results(one), files && section("Artifacts", kept(files)),
      section("Timeline", kept(timeline)), commands(ran),
      section("Log", logView ? kept(logView)
        : empty("clock", "No log yet", "The log appears here as soon as the deployment starts.")),
    ];
  }, (one) => (one.status === "in_progress" ? 2 : one.status === "queued" ? 5 : 0));
  return place;
}

/** @param {DeploymentEvent} event @param {Actors} actors */
function eventLine(event, actors) {
  return h("li", { "data-key": `${event.number}` },
    status(/** @type {Deployment} */ ({ status: event.status,
          approvals: { required: 0, given_by: /** @type {string[]} */ ([]) } })),
    h("span", null, typed(event.reason.replace(/^claimed, attempt (\d+)$/,
        (_, attempt) => (attempt === "1" ? "started" : `started again, attempt ${attempt}`)))),
      h("span", { class: "muted" },
      dots(event.actor === "runner" ? "by the runner" : ["by ", typed(nameOf(event.user_id, actors))],
        time(event.at))));
}

/** Shows what a deployment waits for. @param {Deployment} one */
function waiting(one) {
  const { queue } = one;
  return h("div", { class: "callout wait", role: "note" }, icon("clock"),
    h("div", null, h("p", null, h("strong", null, waits(one)),
        queue && queue.position > 0 && `. Place ${queue.position} in the queue.`),
    queue && h("p", { class: "muted" },
      dots(["In the queue since ", time(queue.since)], queue.deadline && ["Ends by itself ", time(queue.deadline)]))));
}

/**
 * @param {Deployment} one
 * @param {string | null} refused why the caller may not deploy
 * @param {string | null} admin why the caller may not override the rules
 * @param {() => void} reload
 */
function offered(one, refused, admin, reload) {
  const path = `/v1/deployments/${one.id}`;
  const open = async (/** @type {Promise<Deployment>} */ created) => go(`/deployments/${(await created).id}`);
  const repository = `/v1/repositories/${one.repository_id}`;
  const name = `#${one.number}`;
  if (active(one.status)) {
    return button(one.cancel_requested ? "Canceling" : "Cancel", async () => {
      await ask(`Cancel ${name}?`,
        one.status === "queued" ? "The deployment ends at once. Nothing of it has run."
        : "The build is told to stop. What its commands have already changed stays changed.", "Cancel the deployment",
        () => change("POST", `${path}/cancel`), true);
      reload();
    }, { kind: "danger", reason: refused ?? (one.cancel_requested ? "The build has been told to stop." : null) });
  }
  return [
    one.status === "succeeded"
      && button("Roll back to this",
      () => ask(`Roll back to ${name}?`,
        [h("p", null, `This creates a deployment to ${one.environment} that repeats ${name}: its commit and its variables.`),
          repetition(admin)],
        "Roll back", (values) => open(change("POST", `${repository}/rollback`,
            { environment: one.environment, deployment_id: one.id, ...repeated(values) }))),
      { icon: "back", reason: refused }),
    button("Retry", () => ask(`Retry ${name}?`,
        [h("p", null, `This creates a deployment that repeats ${name}: its commit, its environment and its variables.`),
          repetition()], "Retry",
        (values) => open(change("POST", `${path}/retry?stored_variables=${versions(values)}`))),
      { reason: refused, kind: one.status === "failed" ? "primary" : undefined }),
  ];
}

/**
 * Shows what an approval covers, and the approvals.
 * @param {Deployment} one
 * @param {string | null} refused why the caller may not deploy
 * @param {() => void} reload
 */
function approvals(one, refused, reload) {
  const { approvals: { required, given_by: given }, variables, approval_digest: digest } = one;
  const user = me().user;
  const undecided = one.status === "queued" && given.length < required;
  const reason = refused
    ?? (!user ? "Only people approve." : one.created_by === user.id
    ? "You created this deployment, so somebody else has to approve it." : given.includes(user.id)
    ? "You have approved it." : null);
  const approve = async () => {
    await ask(`Approve #${one.number}?`,
      h("p", null, "You approve commit ", short(one.sha), " for ", h("strong", null, one.environment),
        ", with the variables and settings that the digest ", h("code", null, digest.slice(0, 12)), " covers."),
      "Approve",
      () => change("POST", `/v1/deployments/${one.id}/approve`, { sha: one.sha, approval_digest: digest }));
    reload();
  };
  const reject = async () => {
    await ask(`Reject #${one.number}?`,
      [h("p", null, "The deployment fails. Its creator sees your reason."),
        field("Reason", h("textarea", { name: "reason", maxlength: 500, rows: 3 }))], "Reject",
      (values) => change("POST", `/v1/deployments/${one.id}/reject`, { reason: values.get("reason") || null }), true);
    reload();
  };
  return section(required ? "Approvals" : "Variables", facts([
    required > 0 && ["Given", h("span", null, h("strong", null, `${given.length} of ${required}`),
        given.length > 0 && [": ", given.map((id, at) => [at > 0 && ", ", typed(nameOf(id, one.actors))])])],
    ["Variables", variables?.length ? h("ul", { class: "codes" }, variables.map(({ name, from, version, secret, value }) =>
        h("li", null, dots(h("code", null, name), version ? `${from}, version ${version}` : "of this deployment",
          secret ? "secret" : value && h("code", null, typed(value)))))) : "None"],
    ["Digest", [copyable(digest, "the digest"),
        h("small", null, "Stands for all that the build gets: the commit, the variables with their values, and the settings.")]],
  ]), undecided && [button("Reject", reject,
    { reason: refused ?? (user ? null : "Only people reject.") }),
    button("Approve", approve, { kind: "primary", icon: "check", reason })]);
}
