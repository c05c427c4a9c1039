// Tells a screen reader what happens, at a pace that a person can listen to: one sentence every few seconds, news about
// the connection before the number of events.

import { cut } from "../stream/text.js";

const PAUSE = 5000; // ms

export class Announcer {
  #node = document.querySelector("#announcements");
  #urgent = "";
  #count = 0;
  #latest = null;
  #timer = null;

  say(text) {
    this.#urgent = cut(text, 500);
    this.#schedule();
  }

  event(item) {
    this.#count += 1;
    this.#latest = item;
    this.#schedule();
  }

  #schedule() {
    this.#timer ??= setTimeout(() => this.#speak(), this.#node.textContent ? PAUSE : 300);
  }

  #speak() {
    this.#timer = null;
    if (this.#urgent) {
      this.#node.textContent = this.#urgent;
      this.#urgent = "";
      if (this.#count > 0) this.#schedule();
    } else if (this.#count > 0) {
      const { type, topics, data } = this.#latest;
      const events = this.#count === 1 ? "One new event" : `${this.#count} new events, the last`;
      this.#node.textContent = `${events} on ${cut(topics.join(", "), 200)}: ${cut(type, 80)}, ${cut(data, 120)}`;
      this.#count = 0;
    }
  }
}
