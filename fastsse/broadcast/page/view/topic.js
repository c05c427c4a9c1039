// A topic's chip: its name, in a colour that it keeps everywhere on the page. Hues go by order of appearance, so the
// first eight topics never share one, and one address gives one picture.

import { element } from "./element.js";
import { cut } from "../stream/text.js";

const HUES = 8;
const MOST_SEEN = 2000; // topics whose hue is remembered
const MOST_CHIPS = 12; // of one event
const LONGEST = 300; // characters of a name

const seen = new Map();

function hueOf(topic) {
  if (seen.size >= MOST_SEEN) seen.clear();
  if (!seen.has(topic)) seen.set(topic, seen.size % HUES);
  return seen.get(topic);
}

export function topicChip(topic, ...children) {
  const shown = cut(topic, LONGEST);
  return element("span", { class: "chip", "data-hue": hueOf(topic), title: shown }, element("span", {}, shown), ...children);
}

/** Makes the chips of an event's topics: of very many topics the first, and how many more there are. */
export function topicChips(topics) {
  const chips = topics.slice(0, MOST_CHIPS).map((topic) => topicChip(topic));
  const more = topics.length - chips.length;
  if (more > 0) chips.push(element("span", { class: "more" }, `and ${more} more`));
  return chips;
}
