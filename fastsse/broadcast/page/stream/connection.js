// One event stream that is kept open: connects, reads, waits, connects again where it stood.
//
// Why fetch() and not EventSource: an EventSource hides comments (our labels and heartbeats) and the status, headers
// and body of an error answer, so the page could show neither the topic of an event nor why a hub refuses. And an
// EventSource gives up for good at any status but 200, where a hub that restarts answers 503 for a moment. The rest is
// done as the HTML standard says: announce, re-establish, fail; last event ID; reconnection time; 204 stops.

import { readEnd, readExpired } from "./labels.js";
import { EventTooLarge, Parser } from "./parser.js";
import { readProblem } from "./problem.js";
import { asksForToken } from "./sign-in.js";
import { cut, textOf } from "./text.js";
import { LONGEST_TIMER, Watchdog } from "./watchdog.js";

const FIRST_RETRY = 2000; // ms, until the stream says otherwise
const SHORTEST_WAIT = 100; // ms: a reconnection time of 0 must not become a storm
const LONGEST_WAIT = 30_000; // ms
const LONGEST_RETRY_AFTER = 300_000; // ms
const LONGEST_REASON = 500; // characters
const SLICE = 2 ** 14; // bytes that are read in one go
const BUDGET = 10; // ms of work after which the page may do something else
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);

// The hub's first comment in a stream: for how many seconds it may be silent at most.
const GREETING = /^fastsse(?: heartbeat=(\d+(?:\.\d+)?))?$/;

// The hub's last comment in a stream, and what it means.
const FAREWELLS = new Map([
  ["shutdown", "the hub is shutting down"],
  ["lifetime", "the stream's lifetime is over"],
  ["archive", "the hub cannot read its archive, which has the events that were missed"],
]);

// The only comment of an answer to a reader for which the hub has no room now: the reason, and words.
const TURNED_AWAY = /^(\w+): (.+)$/;

/** A failure of the network, told apart from faults of our own. */
class Unreachable extends Error {}

/**
 * @typedef {object} State
 * @property {"idle" | "connecting" | "open" | "waiting" | "stopped" | "refused"} name
 * @property {string} [reason] why we wait, stopped or are refused, in words
 * @property {boolean} [draining] waiting: the hub said that it is shutting down
 * @property {boolean} [planned] waiting: the hub ends every stream after a while; nothing is wrong
 * @property {number} [until] waiting: the moment of the next attempt, ms since the epoch
 * @property {object} [problem] refused: the RFC 9457 problem of the answer, when it had one
 * @property {boolean} [asks] refused: a token is needed, or another one
 * @property {boolean} [again] open: not for the first time
 * @property {number} [downFor] open again: ms without a stream
 * @property {string} [resumedAfter] open: the last event ID that was asked for
 */

export class Connection {
  #path;
  #listener;
  #signIn;
  #retry = FIRST_RETRY;
  #failures = 0; // attempts in a row that did not get a stream
  #opened = false; // since follow(): decides whether an opening is a reconnection
  #lostAt = null;
  #left = new Set(); // topics that have not ended, as far as this stream says
  #running = null; // AbortController of the loop
  #watchdog = null; // of the running attempt
  #place = ""; // where what is shown begins
  #asleep = false; // the browser has frozen the page, or keeps it behind another
  #wake = () => {};

  /**
   * @param {string} path of the hub's events, relative to the page
   * @param {object} listener
   * @param {(event: object) => void} listener.onEvent
   * @param {(text: string) => void} listener.onComment
   * @param {(state: State) => void} listener.onState
   * @param {(place: string) => void} listener.onPlace called with the last event ID from which all that is shown can be had
   * @param {import("./sign-in.js").SignIn} signIn brings the token
   */
  constructor(path, listener, signIn) {
    this.#path = path;
    this.#listener = listener;
    this.#signIn = signIn;
    this.topics = [];
    this.lastEventId = "";
    addEventListener("online", () => this.retryNow());
    // A page that was frozen never hears from its fetch() again, not even an error; and a page that nobody sees needs none.
    document.addEventListener("freeze", () => this.#sleep());
    document.addEventListener("resume", () => this.#rise());
    addEventListener("pagehide", ({ persisted }) => persisted && this.#sleep());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#rise());
  }

  /** Follow these topics from now on. A changed choice keeps the last event ID, so nothing in between is lost. */
  follow(topics, { lastEventId = this.lastEventId } = {}) {
    this.close();
    this.topics = [...topics];
    this.lastEventId = lastEventId;
    this.#place = lastEventId;
    this.#left = new Set(topics);
    this.#opened = false;
    if (topics.length === 0) return this.#tell("onState", { name: "idle" });
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** Ends the stream; `reopen` goes on where it stood. */
  close() {
    this.#running?.abort();
    this.#running = null;
    this.#failures = 0;
    this.#lostAt = null;
  }

  stop() {
    this.close();
    this.#tell("onState", { name: "stopped", reason: "disconnected by you" });
  }

  reopen() {
    if (!this.#running) this.follow(this.topics);
  }

  /** Ends a wait early. */
  retryNow() {
    this.#wake();
  }

  #sleep() {
    this.#asleep = true;
    this.#watchdog?.bark({ reason: "the page is asleep", planned: true, asleep: true });
  }

  #rise() {
    if (!this.#asleep) return; // two events can tell of one awakening
    this.#asleep = false;
    this.#wake();
  }

  /** Calls the listener, whose faults must not end the stream. */
  #tell(what, news) {
    try {
      this.#listener[what](news);
    } catch (fault) {
      reportError(fault);
    }
  }

  async #run(signal) {
    while (!signal.aborted) {
      this.#tell("onState", { name: "connecting" });
      const outcome = await this.#attempt(signal);
      if (signal.aborted) return;
      if (outcome.over) {
        this.#running = null;
        return this.#tell("onState", outcome.over);
      }
      this.#lostAt ??= performance.now();
      await this.#wait(outcome, signal);
    }
  }

  /** Makes one request to its end: `{ over: State }`, or `{ reason, atLeast?, draining?, planned? }` to ask again. */
  async #attempt(signal) {
    const watchdog = (this.#watchdog = new Watchdog(signal));
    // The state in which the stream ends, whatever ends it.
    const stream = { opened: false, comment: "", retry: null, expired: null, signedIn: this.#signIn.signedIn };
    try {
      const answer = await overNetwork(
        this.#signIn.fetch(this.#url(), {
          // We set Cache-Control: with the browser's "no-cache" the hub would take us for an EventSource, which bears no 503.
          headers: { Accept: "text/event-stream", "Cache-Control": "no-store" },
          cache: "no-store",
          signal: watchdog.signal,
        }),
      );
      if (!isEventStream(answer)) return await refusal(answer);
      await this.#read(answer.body, stream, watchdog);
      if (stream.opened && this.#left.size === 0) return { over: { name: "stopped", reason: "all topics have ended" } };
      return this.#expired(stream) ?? ended(stream, "the hub ended the stream");
    } catch (error) {
      if (signal.aborted) return {};
      if (watchdog.barked) return watchdog.barked;
      if (error instanceof Unreachable) return ended(stream, "the hub cannot be reached");
      if (error instanceof EventTooLarge) return { over: { name: "refused", reason: error.message } };
      reportError(error);
      return { over: { name: "refused", reason: `a fault of this page: ${error}` } };
    } finally {
      watchdog.stop();
      if (this.#watchdog === watchdog) this.#watchdog = null; // the next attempt may have begun
    }
  }

  #url() {
    const url = new URL(this.#path, document.baseURI);
    for (const topic of this.topics) url.searchParams.append("topic", topic);
    url.searchParams.set("labels", "1");
    // In the query, not in the header: a header value of fetch() must be Latin-1, an id need not be.
    if (this.lastEventId) url.searchParams.set("last_event_id", this.lastEventId);
    return url;
  }

  /** Counts the stream as open, from its first byte on: an answer of 200 alone may only tell us to come again. */
  #open(stream) {
    if (stream.opened) return;
    stream.opened = true;
    const again = this.#opened;
    const downFor = this.#lostAt === null ? 0 : performance.now() - this.#lostAt;
    this.#opened = true;
    this.#failures = 0;
    this.#lostAt = null;
    this.#tell("onState", { name: "open", again, downFor, resumedAfter: this.lastEventId });
  }

  async #read(body, stream, watchdog) {
    const parser = new Parser({
      lastEventId: this.lastEventId,
      onComment: (text) => this.#hear(text, stream, watchdog),
    });
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await overNetwork(reader.read());
      if (done) return;
      watchdog.fed();
      await this.#take(value, parser, stream, watchdog.signal);
    }
  }

  #hear(comment, stream, watchdog) {
    const greeting = GREETING.exec(comment);
    if (greeting?.[1]) watchdog.expect(Number(greeting[1]) * 1000);
    if (comment === "") watchdog.heard();
    if (greeting || comment === "") this.#open(stream);
    else stream.comment = comment;
    this.#tell("onComment", comment);
  }

  /** Hands on the events of a chunk, with pauses. The last event ID moves past an event once it is handed on. */
  async #take(chunk, parser, stream, signal) {
    let pauseAt = performance.now() + BUDGET;
    const pauseIfLong = async () => {
      if (performance.now() < pauseAt) return;
      await pause(signal);
      pauseAt = performance.now() + BUDGET;
    };
    for (let start = 0; start < chunk.length; start += SLICE) {
      for (const event of parser.feed(chunk.subarray(start, start + SLICE))) {
        this.#open(stream);
        if (event.type === "end") this.#left.delete(readEnd(event.data).topic);
        if (event.type === "expired") stream.expired = readExpired(event.data);
        this.#tell("onEvent", event);
        this.lastEventId = event.id;
        await pauseIfLong();
      }
      this.lastEventId = parser.lastEventId;
      if (!this.#place && parser.beginning) this.#tell("onPlace", (this.#place = parser.beginning));
      stream.retry = parser.retry;
      if (stream.opened) this.#retry = parser.retry ?? this.#retry;
      await pauseIfLong();
    }
  }

  /** Says what the end of a stream means whose grant was over; null for all others. */
  #expired({ expired, signedIn }) {
    if (expired === null) return null;
    if (expired !== "expired") return { reason: `the hub ended the stream: ${expired || "revoked"}` };
    const reason = "the token has expired";
    if (!signedIn) return { reason }; // a cookie brings it, and may bring a new one by now
    if (this.#signIn.signedIn) this.#signIn.drop(reason); // another request may have heard it before
    return { over: { name: "refused", reason: `${reason}; sign in again, and the stream goes on where it stood`, asks: true } };
  }

  async #wait({ reason, atLeast = 0, draining = false, planned = false, asleep = false }, signal) {
    if (asleep && !this.#asleep) return;
    const spread = 1 + Math.random() / 4; // a thousand pages must not come back in the same millisecond
    const backoff = Math.min(this.#retry * 2 ** this.#failures * spread, Math.max(LONGEST_WAIT, this.#retry));
    const delay = Math.min(Math.max(SHORTEST_WAIT, atLeast, backoff), LONGEST_TIMER);
    this.#failures += 1;
    this.#tell("onState", { name: "waiting", reason, draining, planned, until: Date.now() + delay });
    const { promise, resolve } = Promise.withResolvers();
    const timer = setTimeout(resolve, delay);
    this.#wake = resolve;
    signal.addEventListener("abort", resolve, { once: true });
    await promise;
    clearTimeout(timer);
    this.#wake = () => {};
    signal.removeEventListener("abort", resolve);
  }
}

/** Awaits a promise that only the network can break. */
async function overNetwork(promise) {
  try {
    return await promise;
  } catch (cause) {
    throw new Unreachable("the network failed", { cause });
  }
}

/** Lets the page draw and answer before the work goes on; a timer would be held back while the page is hidden. */
async function pause(signal) {
  await new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), resolve());
    port2.postMessage(null);
  });
  signal.throwIfAborted();
}

/** Says what the end of a stream means, by the last words of the hub in it. */
function ended({ opened, comment, retry }, reason) {
  if (FAREWELLS.has(comment)) {
    const [draining, planned] = [comment === "shutdown", comment === "lifetime"];
    return { reason: FAREWELLS.get(comment), draining, planned };
  }
  if (opened) return { reason };
  const [, why = "", words = reason] = TURNED_AWAY.exec(comment) ?? [];
  const atLeast = Math.min(retry ?? 0, LONGEST_RETRY_AFTER);
  return { reason: cut(words, LONGEST_REASON), draining: why === "draining", atLeast };
}

function isEventStream(answer) {
  return answer.status === 200 && /^text\/event-stream *(;|$)/i.test(answer.headers.get("Content-Type") ?? "");
}

/** Says what an answer without a stream means. */
async function refusal(answer) {
  if (answer.status === 204) return { over: { name: "stopped", reason: "all topics have ended, and nothing more is kept (204)" } };
  const problem = await readProblem(answer);
  const unexplained = `the hub answered ${answer.status} ${answer.statusText}`.trim();
  const reason = cut(textOf(problem?.detail) || textOf(problem?.title) || unexplained, LONGEST_REASON);
  if (TEMPORARY.has(answer.status)) {
    return { reason, atLeast: retryAfter(answer) };
  }
  if (answer.status === 200) return { over: { name: "refused", reason: "the answer is not an event stream" } };
  return { over: { name: "refused", reason, problem, asks: asksForToken(answer) } };
}

/** Reads `Retry-After` in ms: delta-seconds or a date (RFC 9110, 10.2.3); 0 when there is none. */
function retryAfter(answer) {
  const given = answer.headers.get("Retry-After");
  if (!given) return 0;
  const delay = /^\d+$/.test(given) ? Number(given) * 1000 : Date.parse(given) - Date.now();
  return Math.min(Math.max(delay || 0, 0), LONGEST_RETRY_AFTER);
}
