// Answers of LLMs, growing as they are typed: one card an answer. The events themselves stay in the log.

import { element } from "./element.js";
import { topicChip } from "./topic.js";

const MOST = 12; // cards
const LONGEST = 200_000; // characters of one answer
const SILENCE = 30_000; // ms after which an answer without an end counts as broken off

export class Answers {
  #region = document.querySelector("#answers");
  #list = document.querySelector("#answer-list");
  #cards = []; // newest first, as on the page
  #running = new Map(); // by answer, the card that its next token goes to
  #frame = 0;
  #onDone;

  /** @param {(topic: string, text: string) => void} onDone when an answer is complete */
  constructor(onDone) {
    this.#onDone = onDone;
    setInterval(() => this.#breakOff(), 5000);
  }

  /** @param {import("./tokens.js").Token} token */
  add(token, { topics, time }) {
    let card = this.#running.get(token.answer);
    const begins = token.text !== "" || (Boolean(token.model) && !token.done);
    if (begins && (!card || card.done)) card = this.#begin(token.answer, topics, time); // done: it is played once more
    if (!card) return; // the tail of an answer that was cleared
    if (card.take(token, time)) this.#onDone(topics[0] ?? "", card.text);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.#cards = [];
    this.#running.clear();
    this.#list.replaceChildren();
    this.#show(false);
  }

  #show(any) {
    this.#region.hidden = !any;
    document.body.classList.toggle("answering", any);
  }

  #begin(answer, topics, time) {
    const card = new Card(topics, time);
    this.#cards.unshift(card);
    this.#running.set(answer, card);
    this.#list.prepend(card.node);
    this.#show(true);
    if (this.#cards.length > MOST) this.#forget(this.#cards.pop());
    return card;
  }

  #forget(card) {
    card.node.remove();
    for (const [answer, other] of this.#running) if (other === card) this.#running.delete(answer);
  }

  #draw() {
    this.#frame = 0;
    for (const card of this.#cards) card.draw();
  }

  #breakOff() {
    for (const card of this.#cards) card.breakOff(Date.now() - SILENCE);
  }
}

class Card {
  #began;
  #last;
  #count = 0;
  #model = "";
  #drawn = 0; // characters of the text that are on the page
  #state = "typing";
  #changed = false;
  #body = document.createTextNode("");
  #scroller = element(
    "div",
    { class: "answer-text", tabindex: "0", role: "region", "aria-label": "text of the answer" },
    this.#body,
    element("span", { class: "caret", "aria-hidden": "true" }),
  );
  #title = element("span", { class: "answer-model" });
  #facts = element("span", { class: "answer-facts" });

  text = "";

  constructor(topics, time) {
    this.#began = this.#last = time;
    this.node = element(
      "article",
      { class: "answer typing", "aria-label": `answer on ${topics.join(", ")}` },
      element("header", {}, ...topics.map((topic) => topicChip(topic)), this.#title, this.#facts),
      this.#scroller,
    );
  }

  get done() {
    return this.#state === "done";
  }

  /** Takes a piece; true when it was the last. */
  take(token, time) {
    this.#last = time;
    this.#changed = true;
    this.#model ||= token.model ?? "";
    this.#count += token.counts ? 1 : 0;
    if (this.text.length < LONGEST) this.text += token.text;
    const finished = Boolean(token.done) && this.#state !== "done";
    if (finished) this.#state = "done";
    return finished;
  }

  breakOff(before) {
    if (this.#state !== "typing" || this.#last > before) return;
    this.#state = "broken off";
    this.#changed = true;
    this.draw();
  }

  draw() {
    if (!this.#changed) return;
    this.#changed = false;
    const atEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight < 24;
    this.#body.appendData(this.text.slice(this.#drawn));
    this.#drawn = this.text.length;
    this.#title.textContent = this.#model;
    this.#facts.textContent = this.#describe();
    this.node.classList.toggle("typing", this.#state === "typing");
    if (atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #describe() {
    const seconds = (this.#last - this.#began) / 1000;
    const rate = seconds >= 1 ? ` · ${Math.round(this.#count / seconds)}/s` : "";
    return `${this.#count} tokens${rate} · ${this.#state}`;
  }
}
