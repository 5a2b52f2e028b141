// The log of a deployment: follows it, folds it by phase, finds text in it, links to a line.

import { follow } from "./api.js";
import { h, icon } from "./dom.js";
import { button, duration, failure, say } from "./ui.js";

/** Lines in a piece. Only pieces near the screen have elements, so the length of a log does not matter. */
const PIECE = 200;
/** Lines after which the page asks before it reads more. */
const MOST = 100_000;
const ROW = 24;
// oxlint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f]/g;

/** The beginning of a line that CodeBuild writes itself. */
const CODEBUILD = /^\[Container\] \S+ \S+ /;

/** @typedef {{lines: LogLine[], element: HTMLElement}} Piece */
/** @typedef {{title: string, element: HTMLElement, body: HTMLElement, head: HTMLButtonElement, facts: HTMLElement, pieces: Piece[], count: number, from: string, ended: boolean}} Phase */

/**
 * Shows the log.
 * @param {View} screen
 * @param {string} id the deployment's
 * @param {() => boolean} running
 */
export function log({ signal }, id, running) {
  /** @type {LogLine[]} */
  const lines = [];
  /** @type {Phase[]} */
  const phases = [];
  /** @type {Map<Element, Piece>} */
  const pieces = new Map();
  let [following, after, complete, wanted, target, at, allowed] = [false, 0, false, lineOf(location.hash), 0, -1, MOST];
  /** @type {LogLine[]} */
  let hits = [];

  const view = h("div", { class: "lines", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: "0" });
  const note = h("p", { class: "log-note", role: "status" }, "Reading the log…");
  const find = h("input", { type: "search", placeholder: "Find in the log", "aria-label": "Find in the log",
      autocomplete: "off", "data-search": true, oninput: () => search(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
  } });
  const count = h("span", { class: "muted", role: "status" });
  const follows = h("button",
    { type: "button", class: "button", "aria-pressed": "false", onclick: () => setFollowing(!following) },
    icon("down"), "Follow");

  /** @param {Piece} piece @param {number} number */
  const has = ({ lines: own }, number) => own[0].number <= number && number <= (own.at(-1)?.number ?? 0);

  // A piece has elements only while it is near the part that is seen. Its height stays when they go. The piece with the line that
  // somebody looks for keeps them: what is told here is late after a phase was folded and unfolded.
  const observer = new IntersectionObserver((entries) => {
    for (const { target: element, isIntersecting } of entries) {
      const piece = pieces.get(element);
      if (!piece) continue;
      // A piece that has its elements keeps them: whoever presses a link of it lets go of the same link.
      if (isIntersecting) {
        if (!element.childElementCount) fill(piece);
      } else if (element.childElementCount && piece.element.offsetHeight && !has(piece, target)) {
        piece.element.style.height = `${piece.element.offsetHeight}px`;
        piece.element.replaceChildren();
      }
    }
  }, { root: view, rootMargin: "800px 0px" });
  signal.addEventListener("abort", () => observer.disconnect());

  /** @param {Piece} piece */
  const fill = (piece) => {
    piece.element.style.height = "";
    piece.element.replaceChildren(...piece.lines.map(lineElement));
    if (following) view.scrollTop = view.scrollHeight;
  };

  /** @param {LogLine} line */
  const lineElement = ({ number, text, stream, at: when }) =>
    h("div", { class: `log-line ${stream}${number === target ? " target" : ""}`, id: `L${number}` },
    h("a", { href: `#L${number}`, class: "number", "aria-label": `Line ${number}`, title: when }, number),
      h("span", { class: "text" }, ...marked(text.replace(ESCAPES, ""))));

  /** @param {string} text */
  const marked = (text) => {
    const query = find.value.toLowerCase();
    if (!query) return [text];
    const parts = [];
    for (let from = 0; ; ) {
      const to = text.toLowerCase().indexOf(query, from);
      if (to < 0) return [...parts, text.slice(from)];
      parts.push(text.slice(from, to), h("mark", null, text.slice(to, to + query.length)));
      from = to + query.length;
    }
  };

  /** @param {string} title @param {string} from */
  const begin = (title, from) => {
    const number = phases.length;
    const body = h("div", { class: "phase-lines", id: `phase-${number}` });
    const facts = h("span", { class: "facts-inline" });
    const head = h("button",
      { type: "button", class: "phase-head", "aria-expanded": "true", "aria-controls": `phase-${number}`,
        onclick: () => fold(phase, !body.hidden) }, icon("chevron"), h("span", null, title), facts);
    const element = h("div", { class: "phase" }, head, body);
    /** @type {Phase} */
    const phase = { title, element, body, head, facts, pieces: [], count: 0, from, ended: false };
    phases.push(phase);
    view.append(element);
    return phase;
  };
  /** @param {Phase} phase @param {boolean} folded */
  const fold = (phase, folded) => {
    phase.body.hidden = folded;
    phase.head.setAttribute("aria-expanded", `${!folded}`);
  };

  /** @param {LogLine[]} read */
  const add = (read) => {
    for (const line of read) {
      lines.push(line);
      const said = line.stream === "system" ? line.text.replace(CODEBUILD, "") : "";
      const entering = said.match(/^Entering phase (\w+)/)?.[1];
      // CodeBuild says more about a phase after its end.
      const more = said.startsWith("Phase context status code");
      const done = said.match(/^Phase complete: (\w+) State: (\w+)/);
      let phase = phases.at(-1);
      if (!phase || entering || (phase.ended && !more)) phase = begin(entering ? entering.toLowerCase().replace("_", " ")
        : phases.length ? "end" : "preparation", line.at);
      let piece = phase.pieces.at(-1);
      if (!piece || piece.lines.length === PIECE) {
        piece = { lines: [], element: h("div", { class: "piece" }) };
        phase.pieces.push(piece);
        pieces.set(piece.element, piece);
        phase.body.append(piece.element);
        observer.observe(piece.element);
      }
      piece.lines.push(line);
      phase.count++;
      if (piece.element.childElementCount) piece.element.append(lineElement(line));
      else piece.element.style.height = `${piece.lines.length * ROW}px`;
      if (done) {
        phase.ended = true;
        phase.head.classList.add(done[2] === "SUCCEEDED" ? "good" : "bad");
        phase.head.querySelector(".icon")?.after(icon(done[2] === "SUCCEEDED" ? "check" : "cross"));
      }
      phase.facts.textContent = `${phase.count} ${phase.count === 1 ? "line" : "lines"}, ${duration(phase.from, line.at)}${phase.head.classList.contains("bad") ? ", failed" : ""}`;
    }
    if (find.value) search(at < 0);
    if (wanted && lines.some(({ number }) => number === wanted)) show(wanted);
    else if (following) view.scrollTop = view.scrollHeight;
  };

  /**
   * Scrolls to a line.
   * @param {number} number
   */
  const show = (number) => {
    const found = [...pieces.values()].find((piece) => has(piece, number));
    const phase = phases.find((one) => found && one.pieces.includes(found));
    if (!found || !phase) return;
    target = number;
    setFollowing(false);
    fold(phase, false);
    fill(found);
    const line = found.element.querySelector(`#L${number}`);
    for (const one of view.querySelectorAll(".target")) one.classList.toggle("target", one === line);
    // Scrolls the log only, and the page as little as needed.
    const top = line ? line.getBoundingClientRect().top - view.getBoundingClientRect().top : 0;
    view.scrollTop += top - view.clientHeight / 3;
    if (wanted === number) view.scrollIntoView({ block: "nearest" });
    wanted = 0;
  };

  const search = (move = true) => {
    const query = find.value.toLowerCase();
    hits = query ? lines.filter(({ text }) => text.replace(ESCAPES, "").toLowerCase().includes(query)) : [];
    if (move) {
      at = -1;
      for (const piece of pieces.values()) if (piece.element.childElementCount) fill(piece);
      if (hits.length) return step(1);
    }
    tell();
  };
  const step = (/** @type {number} */ by) => {
    if (!hits.length) return;
    at = (at + by + hits.length) % hits.length;
    show(hits[at].number);
    tell();
  };
  const tell = () => (count.textContent = find.value
    ? (hits.length ? `${at + 1} of ${hits.length} lines` : "Not found") : "");

  /** @param {boolean} on */
  const setFollowing = (on) => {
    following = on;
    follows.setAttribute("aria-pressed", `${on}`);
    if (on) view.scrollTop = view.scrollHeight;
  };
  // Scrolling up ends the following, and scrolling to the end begins it again.
  let top = 0;
  view.addEventListener("scroll", () => {
    const end = view.scrollHeight - view.clientHeight - view.scrollTop < 8;
    if (view.scrollTop < top - 4 && !end && following) setFollowing(false);
    else if (end && !following && !complete) setFollowing(true);
    top = view.scrollTop;
  }, { passive: true });
  view.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a.number");
    if (!link) return;
    event.preventDefault();
    event.stopPropagation();
    history.replaceState(null, "", link.getAttribute("href"));
    show(lineOf(location.hash));
    navigator.clipboard?.writeText(location.href).then(() => say("Copied the link to the line."), () => {});
  });

  const whole = h("a", { class: "button plain", href: `/v1/deployments/${id}/log.txt`, download: true, hidden: true },
    icon("down"), "Download");

  const read = () => follow(() => `/v1/deployments/${id}/log?after=${after}&limit=1000`, ({ data, meta }) => {
    const first = !lines.length;
    after = meta.next_after;
    complete = meta.complete;
    if (first && !complete && running() && !wanted) setFollowing(true);
    add(data);
    note.hidden = complete && lines.length > 0;
    whole.hidden = !complete;
    note.replaceChildren(complete ? "The log has no lines." : lines.length >= allowed
      ? button(`Read on after ${lines.length} lines`, () => ((allowed += MOST), start())) : running()
      ? "Waiting for more lines…" : "Reading the log…");
    if (complete) setFollowing(false);
    // What went wrong is at the end.
    if (first && complete && !wanted
      && phases.some(({ head }) => head.classList.contains("bad"))) view.scrollTop = view.scrollHeight;
    if (lines.length >= allowed) return 0;
    return complete ? 0 : data.length === 1000 ? 0.05 : 2;
  }, signal);
  const start = () => read().catch((error) => signal.aborted || note.replaceChildren(failure(error, start)));
  start();
  addEventListener("hashchange", () => (wanted = lineOf(location.hash)) && show(wanted), { signal });

  return h("div", { class: "log", "data-key": "log", "data-kept": true },
    h("div", { class: "log-bar" }, find,
      button([], () => step(-1), { kind: "plain", icon: "chevron", label: "Previous match" }),
      button([], () => step(1), { kind: "plain", icon: "chevron", label: "Next match" }), count,
      h("span", { class: "grow" }), follows, button("Fold all", () => {
        const open = phases.some(({ body }) => !body.hidden);
        phases.forEach((phase) => fold(phase, open));
      }, { kind: "plain" }),
      whole),
    view, note);
}

/** @param {string} hash */
const lineOf = (hash) => Number(hash.match(/^#L(\d+)$/)?.[1] ?? 0);
