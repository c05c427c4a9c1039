// Aborts a stream that has gone silent: a half-open connection gives no error. The hub says when the stream opens how
// long its silence may last; where the hub does not say so, we learn it from the heartbeats.

const LEAST_SILENCE = 10_000; // ms
export const LONGEST_TIMER = 2 ** 31 - 1; // ms; a timer of more fires at once

export class Watchdog {
  #abort = new AbortController();
  #timer = null;
  #last = performance.now();
  #longest = 0; // ms between two chunks, or what the hub says
  #hears = false; // the hub sends heartbeats
  /** The outcome of the attempt that was aborted: why. Null while it was not. */
  barked = null;

  /** @param {AbortSignal} signal that ends the attempt for another reason */
  constructor(signal) {
    this.signal = AbortSignal.any([signal, this.#abort.signal]);
  }

  /** @param {number} interval of the heartbeats, ms */
  expect(interval) {
    this.#longest = Math.max(this.#longest, interval);
    this.heard();
  }

  /** Takes note of a heartbeat: from the first one on, silence is a fault. */
  heard() {
    if (this.#hears) return;
    this.#hears = true;
    this.#arm();
  }

  /** Takes note of a chunk. */
  fed() {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
    if (this.#hears) this.#arm();
  }

  /** Aborts the attempt; of several outcomes the first one counts. */
  bark(outcome) {
    this.barked ??= outcome;
    this.#abort.abort();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #arm() {
    clearTimeout(this.#timer);
    const silence = Math.min(Math.max(LEAST_SILENCE, 3 * this.#longest), LONGEST_TIMER);
    const outcome = { reason: "nothing came for too long, not even a heartbeat" };
    this.#timer = setTimeout(() => this.bark(outcome), silence);
  }
}
