// The tab's title: the topics, and how many events came while nobody saw the page.

import { cut } from "../stream/text.js";

const LONGEST = 200; // characters of topics

export class Title {
  #topics = [];
  #unseen = 0; // events since the page was hidden

  constructor() {
    document.addEventListener("visibilitychange", () => {
      this.#unseen = 0;
      this.#show();
    });
    setInterval(() => this.#unseen > 0 && this.#show(), 1000);
  }

  follow(topics) {
    this.#topics = topics;
    this.#show();
  }

  /** Counts an event, which the title tells of within a second. */
  count() {
    if (document.hidden) this.#unseen += 1;
  }

  #show() {
    const topics = this.#topics.length > 0 ? `${cut(this.#topics.join(", "), LONGEST)} · ` : "";
    document.title = `${this.#unseen > 0 ? `(${this.#unseen}) ` : ""}${topics}fastsse`;
  }
}
