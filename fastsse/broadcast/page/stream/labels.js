// The names of topics that the hub gives with an event: in a label, a comment like `: topics ["news"]`, in a gap, or in the
// end of a topic. A server of another make may send anything under these types: nothing here trusts the type of a member.

import { readJson } from "./json.js";
import { cut, textOf } from "./text.js";

const LABEL = "topics "; // begins the comment that names an event's topics
const LONGEST_FACT = 300; // characters of what a gap says

/** Reads the topics of an event from its comments; null when none of them is a label. */
export function topicsOfLabel(comments) {
  const label = comments.find((comment) => comment.startsWith(LABEL));
  return label ? namesIn(readJson(label.slice(LABEL.length))) : null;
}

/**
 * Reads what a gap says.
 *
 * @param {string} data of the gap event
 * @returns {{gap: {from: string, to: string, reason: string}, topics: string[] | null}}
 */
export function readGap(data) {
  const { from, to, reason, topics } = readJson(data) ?? {};
  const gap = Object.fromEntries(
    Object.entries({ from, to, reason }).map(([name, value]) => [name, cut(textOf(value), LONGEST_FACT)]),
  );
  return { gap, topics: namesIn(topics) };
}

/**
 * Reads what the end of a topic says.
 *
 * @param {string} data of the end event
 * @returns {{topic: string, reason: string}} the whole topic, and the reason
 */
export function readEnd(data) {
  const { topic, reason } = readJson(data) ?? {};
  return { topic: textOf(topic), reason: cut(textOf(reason), LONGEST_FACT) };
}

/** Reads why the hub has ended a stream whose grant is over; "" where it does not say. */
export function readExpired(data) {
  return cut(textOf(readJson(data)?.reason), LONGEST_FACT);
}

function namesIn(value) {
  return Array.isArray(value) ? value.filter((name) => typeof name === "string") : null;
}
