// Answers of LLMs, growing as they are typed: one card an answer. The events themselves stay in the log.

import { element } from "./element.js";
import { cut, endBefore } from "../stream/text.js";
import { topicChips } from "./topic.js";

const MOST = 12; // cards
const LONGEST = 200_000; // characters of one answer
const A_FRAME = 8000; // characters by which an answer grows in one frame at most
const BUDGET = 8; // ms of a frame for all answers
const BLOCK = 4000; // characters after which the next line begins a block: only the last block is laid out anew
const LONGEST_BLOCK = 16_000; // after which the next character does
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

  /** @param {import("../stream/tokens.js").Token} token */
  add(token, { topics, time }) {
    let card = this.#running.get(token.answer);
    const begins = token.text !== "" || (Boolean(token.model) && !token.done);
    if (begins && (!card || card.done)) card = this.#begin(token.answer, topics, time); // done: it plays again
    if (!card) return; // the tail of an answer that was cleared
    if (card.take(token, time)) this.#onDone(topics[0] ?? "", card.text);
    this.#schedule();
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

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** Draws new text, as much as there is time for, and leaves the rest to the next frame. */
  #draw() {
    this.#frame = 0;
    const end = performance.now() + BUDGET;
    for (const card of this.#cards) {
      if (performance.now() < end) card.draw();
      if (card.changed) this.#schedule();
    }
  }

  #breakOff() {
    for (const card of this.#cards) card.breakOff(Date.now() - SILENCE);
    this.#schedule();
  }
}

class Card {
  #began;
  #last;
  #count = 0;
  #model = "";
  #drawn = 0; // characters of the text that are on the page
  #state = "typing";
  #body = document.createTextNode(""); // of the last block
  #caret = element("span", { class: "caret", "aria-hidden": "true" });
  #scroller = element(
    "div",
    { class: "answer-text", tabindex: "0", role: "region", "aria-label": "text of the answer" },
    element("div", {}, this.#body, this.#caret),
  );
  #title = element("span", { class: "answer-model" });
  #facts = element("span", { class: "answer-facts" });

  text = "";
  changed = false; // since it was drawn

  constructor(topics, time) {
    this.#began = this.#last = time;
    this.node = element(
      "article",
      { class: "answer typing", "aria-label": `answer on ${cut(topics.join(", "), 300)}` },
      element("header", {}, ...topicChips(topics), this.#title, this.#facts),
      this.#scroller,
    );
  }

  get done() {
    return this.#state !== "typing" && this.#state !== "broken off";
  }

  /** Takes a piece, and returns true when that was the last. */
  take(token, time) {
    this.#last = time;
    this.changed = true;
    this.#model ||= token.model ?? "";
    this.#count += token.counts ? 1 : 0;
    if (this.text.length <= LONGEST) this.text += cut(token.text, LONGEST - this.text.length); // ends in "…" when it is cut
    const finished = Boolean(token.done) && !this.done;
    if (finished) this.#state = token.reason ?? "done";
    return finished;
  }

  breakOff(before) {
    if (this.#state !== "typing" || this.#last > before) return;
    this.#state = "broken off";
    this.changed = true;
  }

  draw() {
    if (!this.changed) return;
    const atEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight < 24;
    const end = endBefore(this.text, Math.min(this.#drawn + A_FRAME, this.text.length));
    this.#append(this.text.slice(this.#drawn, end));
    this.#drawn = end;
    this.changed = end < this.text.length;
    this.#title.textContent = this.#model;
    this.#facts.textContent = this.#describe();
    this.node.classList.toggle("typing", this.#state === "typing");
    if (atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #append(text) {
    const lineEnd = this.#body.length >= BLOCK ? text.indexOf("\n") + 1 : 0;
    if (lineEnd > 0 || this.#body.length >= LONGEST_BLOCK) {
      this.#body.appendData(text.slice(0, lineEnd));
      this.#body = document.createTextNode("");
      this.#scroller.append(element("div", {}, this.#body, this.#caret));
    }
    this.#body.appendData(text.slice(lineEnd));
  }

  #describe() {
    const seconds = (this.#last - this.#began) / 1000;
    const rate = seconds >= 1 ? ` · ${Math.round(this.#count / seconds)}/s` : "";
    return `${this.#count} tokens${rate} · ${this.#state}`;
  }
}
