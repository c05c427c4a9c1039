// The events as they came, newest first. Bounded, and drawn once per animation frame: a thousand events a second cost
// sixty updates, and what would be pushed out of the list before anybody sees it is never drawn.

import { makePlainRow, makeRow, searchText } from "./row.js";

const LARGEST = 500; // rows
const CALM = 12; // rows of one frame that are still shown to arrive
const IN_SIGHT = 40; // rows that can be in sight at once, about
const SLOW = 40; // ms; a frame that took longer is followed by as long a rest, in which the page answers
const LAZY = "oncontentvisibilityautostatechange" in Element.prototype;

export class EventLog {
  #list;
  #onChange;
  #waiting = []; // items that are not drawn yet, oldest first
  #rows = []; // `[row, search text]`, oldest first
  #frame = 0;
  #restUntil = 0;
  #filter = "";
  #hideTokens = false;

  total = 0; // events since the page was opened or cleared
  paused = false;

  /**
   * @param {HTMLElement} list
   * @param {() => void} onChange after rows were drawn, hidden or removed
   */
  constructor(list, onChange) {
    this.#list = list;
    this.#onChange = onChange;
  }

  get shown() {
    return this.#rows.reduce((count, [row]) => count + (row.hidden ? 0 : 1), 0);
  }

  get kept() {
    return this.#rows.length;
  }

  get waiting() {
    return this.#waiting.length;
  }

  /** @param {import("./row.js").Item} item */
  add(item) {
    if (item.kind !== "note") this.total += 1;
    this.#waiting.push(item);
    if (this.#waiting.length >= 2 * LARGEST) this.#waiting.splice(0, this.#waiting.length - LARGEST);
    this.#schedule();
  }

  pause(paused) {
    this.paused = paused;
    this.#schedule();
    this.#onChange();
  }

  clear() {
    this.#waiting = [];
    this.#rows = [];
    this.total = 0;
    this.#list.replaceChildren();
    this.#onChange();
  }

  filter(text) {
    this.#filter = text.trim().toLowerCase();
    this.#sift();
  }

  hideTokens(hide) {
    this.#hideTokens = hide;
    this.#sift();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  #sift() {
    for (const [row, search] of this.#rows) row.hidden = this.#hides(row, search);
    this.#onChange();
  }

  #hides(row, search) {
    return (this.#hideTokens && row.classList.contains("token")) || !search.includes(this.#filter);
  }

  #draw(now) {
    this.#frame = 0;
    if (now < this.#restUntil) return this.#schedule();
    requestAnimationFrame((next) => {
      if (next - now > SLOW) this.#restUntil = next + (next - now);
    });
    if (!this.paused && this.#waiting.length > 0) {
      const items = this.#waiting.slice(-LARGEST);
      this.#waiting = [];
      this.#prepend(items);
      this.#trim();
    }
    this.#onChange();
  }

  #prepend(items) {
    const fragment = document.createDocumentFragment();
    for (const [index, item] of items.entries()) {
      const plain = LAZY && items.length - index > IN_SIGHT;
      const row = plain ? makePlainRow(item) : makeRow(item);
      const search = searchText(item);
      row.hidden = this.#hides(row, search);
      if (items.length <= CALM) row.classList.add("fresh");
      this.#rows.push([row, search]);
      fragment.prepend(row);
    }
    this.#list.prepend(fragment);
  }

  #trim() {
    for (const [row] of this.#rows.splice(0, Math.max(0, this.#rows.length - LARGEST))) row.remove();
  }
}
