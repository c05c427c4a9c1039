// Asks the hub for its numbers, every two seconds while somebody looks at them: not in a hidden tab, not behind a closed
// panel. The question goes to /health and not to /metrics, which walks all topics: a scraper may ask for that once in a
// while, but not every open page.

import { tokenHelps } from "./sign-in.js";

const PAUSE = 2000; // ms from an answer to the next question
const PAUSE_AFTER_FAILURE = 10_000; // ms
const PATIENCE = 5000; // ms: the streams of other tabs may hold all the connections that a browser opens to one host

export class NumbersPoller {
  #url;
  #signIn;
  #isWanted;
  #listener;
  #timer = null;
  #asking = false;

  /**
   * @param {string} url
   * @param {() => boolean} isWanted says whether anybody would see the answer
   * @param {object} listener
   * @param {(numbers: object) => void} listener.onNumbers
   * @param {(reason: string) => void} listener.onNone a sentence
   * @param {import("./sign-in.js").SignIn} signIn brings the token
   */
  constructor(url, isWanted, listener, signIn) {
    this.#url = url;
    this.#signIn = signIn;
    this.#isWanted = isWanted;
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Asks now, if somebody looks and no answer is awaited; to be called when that may have changed. */
  async wake() {
    clearTimeout(this.#timer);
    if (this.#asking || document.hidden || !this.#isWanted()) return;
    this.#asking = true;
    let told = false;
    try {
      told = await this.#ask();
    } finally {
      this.#asking = false;
      this.#timer = setTimeout(() => this.wake(), told ? PAUSE : PAUSE_AFTER_FAILURE);
    }
  }

  async #ask() {
    let response;
    try {
      response = await this.#signIn.fetch(this.#url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    } catch {
      this.#listener.onNone("The hub does not answer, so there are no numbers of it.");
      return false;
    }
    try {
      const numbers = await response.json(); // 503 comes with numbers, too: it is draining
      if (typeof numbers?.status === "string") this.#signIn.learn(tokenHelps(response));
      if (!numbers.latency || !numbers.epoch) throw new TypeError("these are not the hub's numbers");
      this.#listener.onNumbers(numbers);
      return true;
    } catch {
      this.#listener.onNone(`This server keeps the hub's numbers to itself (status ${response.status}).`);
      return false;
    }
  }
}
