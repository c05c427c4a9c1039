// The events as they came, newest first. The log is bounded in rows and in the memory that they keep, and is drawn during a
// part of each animation frame. So a thousand events a second cost sixty updates, a row that would leave the list before
// anybody sees it is never drawn, and rows that take long to draw are spread over several frames.

import { adorn } from "./ornament.js";
import { makeBareRow, makePlainRow, makeRow, searchText, sizeOf } from "./row.js";

const LARGEST = 500; // rows
const HEAVIEST = 2 ** 25; // characters of all events that are kept; 64 MiB at most
const BUDGET = 5; // ms of a frame for making rows; their layout takes as long again
const PLAIN = 1 / 8; // of the time that a full row takes to make and to lay out, a plain row takes so much
const LEAST = 12; // full rows that each frame makes, however slow the machine: otherwise the newest would come late
const CALM = 12; // rows of one frame, up to which each is shown to arrive
const IN_SIGHT = 40; // rows that can be in sight at once, about
const SLOW = 40; // ms; a frame that took longer is followed by as long a rest, in which the page answers
const REST = 100; // ms at most
const LAZY = "ContentVisibilityAutoStateChangeEvent" in globalThis;

export class EventLog {
  #list;
  #onChange;
  #waiting = new Kept(); // items that are not drawn yet, `[item, size]`
  #rows = new Kept(); // `[row, size, search text]`
  #sighted = []; // functions that complete the rows that have come into sight
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
    return this.#rows.all.reduce((count, [row]) => count + (row.hidden ? 0 : 1), 0);
  }

  get kept() {
    return this.#rows.all.length;
  }

  get waiting() {
    return this.#waiting.all.length;
  }

  /** @param {import("./row.js").Item} item */
  add(item) {
    if (item.kind !== "note") this.total += 1;
    this.#waiting.push(item, sizeOf(item));
    if (this.#waiting.isTwiceTooMuch) this.#waiting.trim();
    this.#schedule();
  }

  pause(paused) {
    this.paused = paused;
    this.#schedule();
    this.#onChange();
  }

  clear() {
    this.#waiting = new Kept();
    this.#rows = new Kept();
    this.#sighted = [];
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
    for (const [row, , search] of this.#rows.all) row.hidden = this.#hides(row, search);
    this.#onChange();
  }

  #hides(row, search) {
    return (this.#hideTokens && row.classList.contains("token")) || !search.includes(this.#filter);
  }

  #draw(now) {
    this.#frame = 0;
    if (now < this.#restUntil) return this.#schedule();
    requestAnimationFrame((next) => {
      if (next - now > SLOW) this.#restUntil = next + Math.min(next - now, REST);
    });
    const end = performance.now() + BUDGET;
    if (!this.paused && this.waiting > 0) {
      this.#waiting.trim();
      this.#prepend(end);
      for (const [row] of this.#rows.trim()) row.remove();
      if (this.waiting > 0) this.#schedule();
    }
    this.#complete(end);
    this.#onChange();
  }

  /** Completes rows that have come into sight, the newest first. */
  #complete(end) {
    while (this.#sighted.length > 0 && performance.now() < end) adorn(this.#sighted.pop());
    if (this.#sighted.length > 0) this.#schedule();
  }

  /** Makes rows of waiting items, oldest first, until it is time to stop. */
  #prepend(end) {
    const fragment = document.createDocumentFragment();
    const items = this.#waiting.all;
    const toSight = (complete) => {
      this.#sighted.push(complete);
      this.#schedule();
    };
    let [count, made] = [0, 0];
    while (count < items.length && (made < LEAST || performance.now() < end)) {
      const [item, size] = items[count];
      const plain = LAZY && items.length - count > IN_SIGHT;
      made += plain ? PLAIN : 1;
      const row = adorn(() => (plain ? makePlainRow(item, toSight) : makeRow(item))) ?? makeBareRow(item);
      const search = searchText(item);
      row.hidden = this.#hides(row, search);
      if (items.length <= CALM) row.classList.add("fresh");
      this.#rows.push(row, size, search);
      fragment.prepend(row);
      count += 1;
    }
    this.#waiting.drop(count);
    this.#list.prepend(fragment);
  }
}

/** The newest items that came, oldest first: bounded in number and in size. */
class Kept {
  all = []; // `[what, size, …]`
  #size = 0;

  push(what, size, ...more) {
    this.all.push([what, size, ...more]);
    this.#size += size;
  }

  get isTwiceTooMuch() {
    return this.all.length >= 2 * LARGEST || this.#size >= 2 * HEAVIEST;
  }

  /** Drops and returns the oldest items that are too many, or too large together; the newest one stays. */
  trim() {
    let [count, size] = [0, this.#size];
    while (count < this.all.length - 1 && (this.all.length - count > LARGEST || size > HEAVIEST)) {
      size -= this.all[count++][1];
    }
    return this.drop(count);
  }

  drop(count) {
    const dropped = this.all.splice(0, count);
    for (const [, size] of dropped) this.#size -= size;
    return dropped;
  }
}
