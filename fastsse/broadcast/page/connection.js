// One event stream that is kept open: connects, reads, waits, connects again where it stood.
//
// Why fetch() and not EventSource: an EventSource hides comments (our labels and heartbeats) and the status, headers
// and body of an error answer, so it could show neither the topic of an event nor why a hub refuses. It also gives up
// for good at any status but 200, where a hub that restarts answers 503 for a moment. The rest is done as the HTML
// standard says: announce, re-establish, fail; last event ID; reconnection time; 204 stops.

import { Parser } from "./parser.js";

const FIRST_RETRY = 2000; // ms, until the stream says otherwise
const SHORTEST_WAIT = 100; // ms: a reconnection time of 0 must not become a storm
const LONGEST_WAIT = 30_000; // ms
const LONGEST_RETRY_AFTER = 300_000; // ms
const LEAST_SILENCE = 10_000; // ms
const LONGEST_TIMER = 2 ** 31 - 1; // ms; a timer of more fires at once
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);

// The hub's last comment in a stream, and what it means.
const FAREWELLS = {
  shutdown: "the hub is shutting down",
  lifetime: "the stream's lifetime is over",
};

/**
 * @typedef {object} State
 * @property {"idle" | "connecting" | "open" | "waiting" | "stopped" | "refused"} name
 * @property {string} [reason] why we wait, stopped or are refused, in words
 * @property {boolean} [draining] waiting: the hub said that it is shutting down
 * @property {boolean} [planned] waiting: the hub ends every stream after a while; nothing is wrong
 * @property {number} [until] waiting: the moment of the next attempt, ms since the epoch
 * @property {object} [problem] refused: the RFC 9457 problem of the answer, when it had one
 * @property {boolean} [again] open: not for the first time
 * @property {number} [downFor] open again: ms without a stream
 * @property {string} [resumedAfter] open: the last event ID that was asked for
 */

export class Connection {
  #path;
  #listener;
  #retry = FIRST_RETRY;
  #failures = 0; // attempts in a row that did not get a stream
  #opened = false; // since follow(): decides whether an opening is a reconnection
  #lostAt = null;
  #farewell = ""; // the hub's last comment, when it said why it ends the stream
  #running = null; // AbortController of the loop
  #wake = () => {};

  /**
   * @param {string} path of the hub's events, relative to the page
   * @param {object} listener
   * @param {(event: object) => void} listener.onEvent
   * @param {(text: string) => void} listener.onComment
   * @param {(state: State) => void} listener.onState
   */
  constructor(path, listener) {
    this.#path = path;
    this.#listener = listener;
    this.topics = [];
    this.lastEventId = "";
    addEventListener("online", () => this.retryNow());
  }

  /** Follow these topics from now on. A changed choice keeps the last event ID, so nothing in between is lost. */
  follow(topics, { lastEventId = this.lastEventId } = {}) {
    this.close();
    this.topics = [...topics];
    this.lastEventId = lastEventId;
    this.#opened = false;
    if (topics.length === 0) return this.#listener.onState({ name: "idle" });
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
    this.#listener.onState({ name: "stopped", reason: "disconnected by you" });
  }

  reopen() {
    if (!this.#running) this.follow(this.topics);
  }

  /** Ends a wait early. */
  retryNow() {
    this.#wake();
  }

  async #run(signal) {
    while (!signal.aborted) {
      this.#listener.onState({ name: "connecting" });
      this.#farewell = "";
      const outcome = await this.#attempt(signal);
      if (signal.aborted) return;
      if (outcome.over) {
        this.#running = null;
        return this.#listener.onState(outcome.over);
      }
      this.#lostAt ??= performance.now();
      await this.#wait(outcome, signal);
    }
  }

  /** One request to its end: `{ over: State }`, or `{ reason, atLeast?, draining? }` when it is worth another. */
  async #attempt(signal) {
    const watchdog = new Watchdog(signal);
    try {
      const answer = await fetch(this.#url(), {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal: watchdog.signal,
      });
      if (!isEventStream(answer)) return await refusal(answer);
      this.#announce();
      await this.#read(answer.body, watchdog);
      return this.#cutOff(FAREWELLS[this.#farewell] ?? "the hub ended the stream");
    } catch (error) {
      if (watchdog.barked) return this.#cutOff("nothing came for too long, not even a heartbeat");
      if (error instanceof TypeError) return this.#cutOff("the hub cannot be reached");
      return { over: { name: "refused", reason: error.message } };
    } finally {
      watchdog.stop();
    }
  }

  #cutOff(reason) {
    if (this.#farewell === "shutdown") return { reason: FAREWELLS.shutdown, draining: true };
    return { reason, planned: this.#farewell === "lifetime" };
  }

  #url() {
    const url = new URL(this.#path, document.baseURI);
    for (const topic of this.topics) url.searchParams.append("topic", topic);
    url.searchParams.set("labels", "1");
    // In the query, not in the header: a header value of fetch() must be Latin-1, an id need not be.
    if (this.lastEventId) url.searchParams.set("last_event_id", this.lastEventId);
    return url;
  }

  #announce() {
    const again = this.#opened;
    const downFor = this.#lostAt === null ? 0 : performance.now() - this.#lostAt;
    this.#opened = true;
    this.#failures = 0;
    this.#lostAt = null;
    this.#listener.onState({ name: "open", again, downFor, resumedAfter: this.lastEventId });
  }

  async #read(body, watchdog) {
    const parser = new Parser({
      lastEventId: this.lastEventId,
      onComment: (text) => {
        if (text === "") watchdog.heard();
        if (text in FAREWELLS) this.#farewell = text;
        this.#listener.onComment(text);
      },
    });
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      watchdog.fed();
      const events = parser.feed(value);
      this.#retry = parser.retry ?? this.#retry;
      this.lastEventId = parser.lastEventId;
      for (const event of events) this.#listener.onEvent(event);
    }
  }

  async #wait({ reason, atLeast = 0, draining = false, planned = false }, signal) {
    const spread = 1 + Math.random() / 4; // a thousand pages must not come back in the same millisecond
    const backoff = Math.min(this.#retry * 2 ** this.#failures * spread, Math.max(LONGEST_WAIT, this.#retry));
    const delay = Math.min(Math.max(SHORTEST_WAIT, atLeast, backoff), LONGEST_TIMER);
    this.#failures += 1;
    this.#listener.onState({ name: "waiting", reason, draining, planned, until: Date.now() + delay });
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

/** Aborts a stream that has gone silent: a half-open connection gives no error. Learns from the heartbeats seen. */
class Watchdog {
  #abort = new AbortController();
  #timer = null;
  #last = performance.now();
  #longest = 0; // ms between two chunks
  #hears = false; // a heartbeat was seen; before, we do not know that the hub sends any
  barked = false;
  constructor(signal) {
    this.signal = AbortSignal.any([signal, this.#abort.signal]);
  }

  heard() {
    this.#hears = true;
  }

  fed() {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
    clearTimeout(this.#timer);
    if (!this.#hears) return;
    this.#timer = setTimeout(() => {
      this.barked = true;
      this.#abort.abort();
    }, Math.max(LEAST_SILENCE, 3 * this.#longest));
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

function isEventStream(answer) {
  return answer.status === 200 && /^text\/event-stream *(;|$)/i.test(answer.headers.get("Content-Type") ?? "");
}

/** What an answer without a stream means for us. */
async function refusal(answer) {
  if (answer.status === 204) return { over: { name: "stopped", reason: "the hub asked not to reconnect (204)" } };
  const problem = await readProblem(answer);
  const reason = problem?.detail ?? problem?.title ?? `the hub answered ${answer.status} ${answer.statusText}`.trim();
  if (TEMPORARY.has(answer.status)) {
    return { reason, atLeast: retryAfter(answer) };
  }
  if (answer.status === 200) return { over: { name: "refused", reason: "the answer is not an event stream" } };
  return { over: { name: "refused", reason, problem } };
}

/** The RFC 9457 problem of an answer, or null. */
export async function readProblem(answer) {
  try {
    return /\bjson\b/.test(answer.headers.get("Content-Type") ?? "") ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** `Retry-After` in ms: delta-seconds or a date (RFC 9110, 10.2.3); 0 when there is none. */
function retryAfter(answer) {
  const given = answer.headers.get("Retry-After");
  if (!given) return 0;
  const delay = /^\d+$/.test(given) ? Number(given) * 1000 : Date.parse(given) - Date.now();
  return Math.min(Math.max(delay || 0, 0), LONGEST_RETRY_AFTER);
}
