// A topic's chip: its name, in a colour that it keeps everywhere on the page. Hues go by order of appearance, so the
// first eight topics never share one, and one address gives one picture.

import { element } from "./element.js";

const HUES = 8;
const seen = new Map();

function hueOf(topic) {
  if (!seen.has(topic)) seen.set(topic, seen.size % HUES);
  return seen.get(topic);
}

export function topicChip(topic, ...children) {
  const name = element("span", {}, topic);
  return element("span", { class: "chip", "data-hue": hueOf(topic), title: topic }, name, ...children);
}
