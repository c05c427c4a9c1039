// One row of the log: an event, a gap, or a note about the stream itself. Whatever the event, a row is bounded in what it
// takes to make, to lay out and to keep: long data is folded, and opened piece by piece.

import { element } from "./element.js";
import { prettyJson } from "../stream/json.js";
import { cut, endBefore } from "../stream/text.js";
import { topicChips } from "./topic.js";

const FOLDED_LINES = 12;
const FOLDED_LENGTH = 400;
const OPENED_LINES = 1000; // that one press shows of data that was folded
const OPENED_LENGTH = 50_000; // characters, likewise
const SEARCHED = 4000; // characters that the filter looks at
const LONGEST_NAME = 300; // characters of a type or an id

const GAP_REASONS = new Map([
  ["restart", "The hub was restarted; what it kept before that is gone."],
  ["unknown", "The hub does not know the last event ID that it was asked to go on from."],
  ["trimmed", "More was published in between than the hub keeps."],
  ["slow", "This page did not read fast enough, and was moved ahead."],
  ["lost", "The log let them go before this hub could read them."],
]);

/**
 * @typedef {object} Item
 * @property {"event" | "gap" | "note"} kind
 * @property {number} time ms since the epoch
 * @property {string[]} topics
 * @property {string} type
 * @property {string} id
 * @property {string} data
 * @property {string} [token] the text that this event adds to an answer
 * @property {{from: string, to: string, reason: string}} [gap] kind gap
 * @property {string} [text] kind note
 * @property {"good" | "bad"} [tone] kind note
 */

const makers = { event: eventRow, gap: gapRow, note: noteRow };

/** @param {Item} item */
export function makeRow(item) {
  return makers[item.kind](item);
}

/**
 * Makes a cheap row, of text alone, for an event that starts out of sight.
 *
 * @param {Item} item
 * @param {(complete: () => void) => void} onSight called when it is scrolled to, with what makes it the full one
 */
export function makePlainRow(item, onSight) {
  if (item.kind !== "event") return makeRow(item);
  const row = eventRow(item, () => {
    const text = element("pre", { class: "data" }, item.data.slice(0, FOLDED_LENGTH));
    return element("div", { class: "row-data" }, text);
  });
  let plain = true;
  const complete = () => row.querySelector(".row-data").replaceWith(dataCell(item));
  row.addEventListener("contentvisibilityautostatechange", ({ skipped }) => {
    if (skipped || !plain) return;
    plain = false;
    onSight(complete);
  });
  return row;
}

/** Makes the row of an event for which no other row can be made: its data, and nothing that could go wrong. */
export function makeBareRow(item) {
  const text = element("pre", { class: "data" }, item.data.slice(0, FOLDED_LENGTH));
  return element("li", { class: "row" }, timeOf(item), element("div", { class: "row-data" }, text));
}

/** Returns the text that the filter searches, in lower case. */
export function searchText(item) {
  const parts = [item.topics.join(" "), item.type, item.id, item.data || item.text || ""];
  return parts.map((part) => part.slice(0, SEARCHED)).join(" ").slice(0, SEARCHED).toLowerCase();
}

/** Estimates how much memory an item keeps, in characters. */
export function sizeOf(item) {
  return 1000 + item.data.length + item.type.length + item.id.length;
}

export function clock(time) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

function timeOf(item) {
  return element("time", { datetime: new Date(item.time).toISOString() }, clock(item.time));
}

/** Shows the id in two parts: the epoch is equal in most rows, and gives way where there is no room. */
function idOf(item) {
  const id = cut(item.id, LONGEST_NAME);
  const [, epoch, position] = /^(.*-)?(.*)$/s.exec(id);
  const ground = element("span", { class: "epoch" }, epoch ?? "");
  return element("span", { class: "row-id", title: `id ${id}` }, ground, position);
}

function eventRow(item, makeData = dataCell) {
  const type = cut(item.type, LONGEST_NAME);
  return element(
    "li",
    { class: item.token === undefined ? "row" : "row token" },
    timeOf(item),
    element("span", { class: "row-topics" }, ...topicChips(item.topics)),
    element("span", { class: type === "message" ? "row-type plain" : "row-type", title: type }, type),
    makeData(item),
    idOf(item),
  );
}

function dataCell(item) {
  const text = element("pre", { class: "data" });
  const pieces = prettyJson(item.data);
  const folded = item.token === undefined ? foldedForm(item.data, pieces) : tokenForm(item.token);
  fill(text, folded ?? pieces ?? [["text", item.data]]);
  if (folded === null) return element("div", { class: "row-data" }, text);
  const cell = element("div", { class: "row-data folds" }, text);
  cell.prepend(
    foldButton(item, (open) => {
      for (const more of cell.querySelectorAll(":scope > .opened")) more.remove();
      if (open) unfold(item, text, cell);
      else fill(text, folded);
    }),
  );
  return cell;
}

/** Shows all of the data, or as much as can be laid out at once, and a button for more. */
function unfold(item, text, cell) {
  const pieces = prettyJson(item.data); // made anew: five hundred rows that kept theirs would be too much
  if (pieces) return fill(text, pieces);
  const end = endOfPiece(item.data, 0);
  text.textContent = item.data.slice(0, end);
  showMore(item, end, cell);
}

function showMore(item, from, cell) {
  if (from >= item.data.length) return;
  const left = (item.data.length - from).toLocaleString();
  const button = element("button", { type: "button", class: "quiet opened" }, `Show more of ${left} characters`);
  button.addEventListener("click", () => {
    const to = endOfPiece(item.data, from);
    button.replaceWith(element("pre", { class: "data opened" }, item.data.slice(from, to)));
    showMore(item, to, cell);
  });
  cell.append(button);
}

/** Finds where a piece of the data ends that begins at `from`: at a line's end, unless the last line is too long. */
function endOfPiece(data, from) {
  const most = endBefore(data, Math.min(from + OPENED_LENGTH, data.length));
  let end = from;
  for (let lines = 0; lines < OPENED_LINES; lines++) {
    const next = data.indexOf("\n", end) + 1;
    if (next === 0 || next > most) return lines === 0 || most === data.length ? most : end;
    end = next;
  }
  return end;
}

function foldButton(item, onToggle) {
  const size = `${item.data.length.toLocaleString()} characters`;
  const button = element("button", { type: "button", class: "fold", "aria-expanded": "false", title: size });
  button.setAttribute("aria-label", `all of the data, ${size}`);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    onToggle(open);
  });
  return button;
}

/** Returns the text that a token adds to its answer. */
function tokenForm(text) {
  return text === "" ? [["mark", "(no text)"]] : [["delta", text.slice(0, FOLDED_LENGTH).replaceAll("\n", "↵")]];
}

/** Returns the beginning of data that is too long for a row, or null when all of it fits. */
function foldedForm(data, pieces) {
  if (!pieces) {
    const lines = data.slice(0, endBefore(data, FOLDED_LENGTH)).split("\n");
    if (lines.length <= FOLDED_LINES && data.length <= FOLDED_LENGTH) return null;
    return [["text", lines.slice(0, FOLDED_LINES).join("\n") + " …"]];
  }
  const folded = [];
  let lines = 1;
  let room = FOLDED_LENGTH;
  for (const [kind, text] of pieces) {
    lines += text.startsWith("\n") ? 1 : 0;
    if (lines > FOLDED_LINES || text.length > room) {
      return [...folded, [kind, text.slice(0, room).trimEnd()], ["space", " …"]];
    }
    room -= text.length;
    folded.push([kind, text]);
  }
  return null;
}

/** Puts pieces into a node as few nodes: pieces without a colour of their own are joined to one text. */
function fill(node, pieces) {
  const parts = [];
  let plain = "";
  for (const [kind, text] of pieces) {
    if (kind === "mark" || kind === "space" || kind === "text") {
      plain += text;
      continue;
    }
    if (plain) parts.push(plain);
    plain = "";
    const part = document.createElement("span");
    part.className = `json-${kind}`;
    part.textContent = text;
    parts.push(part);
  }
  node.replaceChildren(...parts, plain);
}

function gapRow(item) {
  const { from, to, reason } = item.gap;
  return element(
    "li",
    { class: "row gap" },
    timeOf(item),
    element("span", { class: "row-topics" }, ...topicChips(item.topics)),
    element("span", { class: "row-type" }, "gap"),
    element(
      "div",
      { class: "row-data" },
      element("p", {}, element("strong", {}, `Gap: ${reason || "unknown"}. `), GAP_REASONS.get(reason) ?? ""),
      element("p", { class: "from-to" }, "from ", code(from), " to ", code(to)),
    ),
    idOf(item),
  );
}

function code(text) {
  return element("code", {}, text || "(nothing)");
}

function noteRow(item) {
  return element(
    "li",
    { class: `row note ${item.tone ?? ""}` },
    timeOf(item),
    element("span", { class: "row-note" }, item.text),
  );
}
