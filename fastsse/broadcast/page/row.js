// One row of the log: an event, a gap, or a note about the stream itself.

import { element } from "./element.js";
import { prettyJson } from "./json.js";
import { topicChip } from "./topic.js";

const FOLDED_LINES = 12;
const FOLDED_LENGTH = 400;

const GAP_REASONS = {
  restart: "The hub was restarted; what it kept before that is gone.",
  unknown: "The hub does not know the last event ID that it was asked to go on from.",
  trimmed: "More was published in between than the hub keeps.",
  slow: "This page did not read fast enough, and was moved ahead.",
};

/**
 * @typedef {object} Item
 * @property {"event" | "gap" | "note"} kind
 * @property {number} time ms since the epoch
 * @property {string[]} topics
 * @property {string} type
 * @property {string} id
 * @property {string} data
 * @property {string} [token] the text that this event adds to an answer
 * @property {object} [gap] kind gap: from, to, reason, topics
 * @property {string} [text] kind note
 * @property {"good" | "bad"} [tone] kind note
 */

const makers = { event: eventRow, gap: gapRow, note: noteRow };

/** @param {Item} item */
export function makeRow(item) {
  return makers[item.kind](item);
}

/** A row that will start out of sight: all of its text, but cheap; it becomes the full one when it is scrolled to. */
export function makePlainRow(item) {
  if (item.kind !== "event") return makeRow(item);
  const row = eventRow(item, () => {
    const text = element("pre", { class: "data" }, item.data.slice(0, FOLDED_LENGTH));
    return element("div", { class: "row-data" }, text);
  });
  row.addEventListener("contentvisibilityautostatechange", ({ skipped }) => {
    if (!skipped && row.dataset.plain) {
      delete row.dataset.plain;
      row.querySelector(".row-data").replaceWith(dataCell(item));
    }
  });
  row.dataset.plain = "true";
  return row;
}

/** What the filter searches, in lower case. */
export function searchText(item) {
  return `${item.topics.join(" ")} ${item.type} ${item.id} ${item.data || item.text || ""}`.slice(0, 4000).toLowerCase();
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

/** The id, its epoch apart: that is the same in most rows, and goes first where there is no room. */
function idOf(item) {
  const [, epoch, position] = /^(.*-)?(.*)$/s.exec(item.id);
  const ground = element("span", { class: "epoch" }, epoch ?? "");
  return element("span", { class: "row-id", title: `id ${item.id}` }, ground, position);
}

function eventRow(item, makeData = dataCell) {
  return element(
    "li",
    { class: item.token === undefined ? "row" : "row token" },
    timeOf(item),
    element("span", { class: "row-topics" }, ...item.topics.map((topic) => topicChip(topic))),
    element("span", { class: item.type === "message" ? "row-type plain" : "row-type", title: item.type }, item.type),
    makeData(item),
    idOf(item),
  );
}

function dataCell(item) {
  const text = element("pre", { class: "data" });
  const pieces = prettyJson(item.data);
  const whole = pieces ?? [["text", item.data]];
  const folded = item.token === undefined ? foldedForm(item.data, pieces) : tokenForm(item.token);
  fill(text, folded ?? whole);
  if (folded === null) return element("div", { class: "row-data" }, text);
  const button = foldButton(item, (open) => fill(text, open ? whole : folded));
  return element("div", { class: "row-data folds" }, button, text);
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

/** Of a token, what it adds to its answer. */
function tokenForm(text) {
  return text === "" ? [["mark", "(no text)"]] : [["delta", text.slice(0, FOLDED_LENGTH).replaceAll("\n", "↵")]];
}

/** The beginning of what is too long for a row, or null when all of it fits. */
function foldedForm(data, pieces) {
  if (!pieces) {
    const lines = data.split("\n", FOLDED_LINES + 1);
    if (lines.length <= FOLDED_LINES && data.length <= FOLDED_LENGTH) return null;
    return [["text", lines.slice(0, FOLDED_LINES).join("\n").slice(0, FOLDED_LENGTH) + " …"]];
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

/** Pieces become as few nodes as can be: what has no colour of its own is joined to one text. */
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
    element("span", { class: "row-topics" }, ...item.topics.map((topic) => topicChip(topic))),
    element("span", { class: "row-type" }, "gap"),
    element(
      "div",
      { class: "row-data" },
      element("p", {}, element("strong", {}, `Gap: ${reason ?? "unknown"}. `), GAP_REASONS[reason] ?? ""),
      element("p", { class: "from-to" }, "from ", code(from), " to ", code(to)),
    ),
    idOf(item),
  );
}

function code(text) {
  return element("code", {}, text === null || text === undefined || text === "" ? "(nothing)" : String(text));
}

function noteRow(item) {
  return element(
    "li",
    { class: `row note ${item.tone ?? ""}` },
    timeOf(item),
    element("span", { class: "row-note" }, item.text),
  );
}
