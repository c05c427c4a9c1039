// An event stream, incrementally: bytes in, events out. No I/O, no clock, no DOM.
// Follows the HTML standard, "Parsing an event stream" and "Interpreting an event stream", to the letter,
// and beside that reports comments, which EventSource hides.

const DIGITS = /^[0-9]+$/;
const LONGEST_RETRY = Number.MAX_SAFE_INTEGER; // ours: the standard sets no bound
const MOST_COMMENTS = 16; // that an event keeps
const LONGEST_COMMENT = 2 ** 20; // characters of each; a label of the most topics has some 80,000

/** The one fault of a stream, by a rule of ours: more than we agreed to hold. */
export class EventTooLarge extends Error {}

export class Parser {
  // "UTF-8 decode": strips one byte-order mark at the start, replaces what is not UTF-8, and holds back a character
  // that a chunk cut in two.
  #utf8 = new TextDecoder();
  // The unfinished line, in fragments that are joined once: a long line in small chunks stays linear.
  #fragments = [];
  #fragmentsLength = 0;
  // The last chunk ended in CR, and that ended the line; an LF right after it belongs to the same line end.
  #afterReturn = false;
  // The data buffer, one entry a `data` line. Empty means "no data": `data` without a value is one empty entry.
  #data = [];
  #dataLength = 0;
  // The event type buffer.
  #type = "";
  // The last event ID buffer: moves at an `id` line. `lastEventId` follows at the blank line, dispatched or not.
  #id;
  // Comments since the last blank line: the labels of the event that is being read.
  #comments = [];
  #onComment;
  #maxEventSize;

  /**
   * @param {object} [options]
   * @param {string} [options.lastEventId] where the last connection stood
   * @param {number} [options.maxEventSize] UTF-16 units of data buffer and current line together
   * @param {(text: string) => void} [options.onComment] called at each comment, with what follows the colon and one space
   */
  constructor({ lastEventId = "", maxEventSize = 2 ** 24, onComment = () => {} } = {}) {
    this.lastEventId = lastEventId;
    /** The last event ID after the first block, where the stream begins; null until then. */
    this.beginning = null;
    /** Reconnection time in integer milliseconds, or null when the stream gave none. */
    this.retry = null;
    this.#id = lastEventId;
    this.#maxEventSize = maxEventSize;
    this.#onComment = onComment;
  }

  /**
   * Returns the events that end in this chunk. An unfinished one is kept; at the end of the stream it is discarded.
   *
   * @param {Uint8Array} chunk
   * @returns {{type: string, data: string, id: string, comments: string[]}[]}
   * @throws {EventTooLarge}
   */
  feed(chunk) {
    const events = [];
    let text = this.#utf8.decode(chunk, { stream: true });
    if (text && this.#afterReturn) {
      this.#afterReturn = false;
      if (text.startsWith("\n")) text = text.slice(1);
    }

    // Each line end is looked for from where the last one was found, so a stream of CR only, or of LF only, stays linear;
    // a regular expression would make an object a line.
    let start = 0;
    let lf = find(text, "\n", 0);
    let cr = find(text, "\r", 0);
    while (lf !== cr) {
      const end = Math.min(lf, cr);
      this.#line(this.#finish(text.slice(start, end)), events);
      start = lf === cr + 1 ? end + 2 : end + 1;
      if (lf < start) lf = find(text, "\n", start);
      if (cr < start) cr = find(text, "\r", start);
    }
    this.#afterReturn ||= text.endsWith("\r");
    this.#hold(text.slice(start));
    return events;
  }

  #hold(fragment) {
    if (!fragment) return;
    this.#fragments.push(fragment);
    this.#fragmentsLength += fragment.length;
    this.#checkSize(0);
  }

  #finish(rest) {
    if (this.#fragments.length === 0) return rest;
    this.#fragments.push(rest);
    const line = this.#fragments.join("");
    this.#fragments = [];
    this.#fragmentsLength = 0;
    return line;
  }

  #checkSize(more) {
    if (this.#dataLength + this.#fragmentsLength + more > this.#maxEventSize) {
      throw new EventTooLarge(`an event is larger than ${this.#maxEventSize} characters`);
    }
  }

  #line(line, events) {
    if (line === "") return this.#dispatch(events);
    this.#checkSize(line.length);
    const colon = line.indexOf(":");
    if (colon < 0) return this.#field(line, "");
    const value = line.slice(line.startsWith(" ", colon + 1) ? colon + 2 : colon + 1);
    return colon === 0 ? this.#comment(value) : this.#field(line.slice(0, colon), value);
  }

  #comment(text) {
    // A block of comments only must not grow for ever, so not all of them are kept.
    if (this.#comments.length < MOST_COMMENTS && text.length <= LONGEST_COMMENT) this.#comments.push(text);
    this.#onComment(text);
  }

  #field(name, value) {
    if (name === "data") {
      this.#data.push(value);
      this.#dataLength += value.length + 1;
    } else if (name === "event") {
      this.#type = value;
    } else if (name === "id") {
      if (!value.includes("\0")) this.#id = value;
    } else if (name === "retry") {
      if (DIGITS.test(value)) this.retry = Math.min(Number(value), LONGEST_RETRY);
    }
  }

  #dispatch(events) {
    this.lastEventId = this.#id;
    this.beginning ??= this.#id;
    if (this.#data.length > 0) {
      events.push({
        type: this.#type || "message",
        data: this.#data.join("\n"),
        id: this.#id,
        comments: this.#comments,
      });
      this.#data = [];
      this.#dataLength = 0;
    }
    this.#type = "";
    this.#comments = [];
  }
}

/** Finds a character from a place on, and returns its index; Infinity where there is none. */
function find(text, character, from) {
  const index = text.indexOf(character, from);
  return index < 0 ? Infinity : index;
}
