// Text of strangers, made ready to be shown: always a string, and no longer than somebody reads.

/** Returns the text of a JSON value that should be a string or a number; "" for every other value. */
export function textOf(value) {
  return typeof value === "string" ? value : Number.isFinite(value) ? String(value) : "";
}

/** Returns the beginning of a text, with a mark where more of it would follow. */
export function cut(text, most) {
  return text.length > most ? `${text.slice(0, endBefore(text, most))}…` : text;
}

/** Writes names in a row, for a sentence of ours: none of them turns the writing direction of its neighbours. */
export function listOf(names) {
  return names.map((name) => (TURNS.test(name) ? `\u2068${name}\u2069` : name)).join(", ");
}

// Letters that are written from right to left, and characters that turn text.
const TURNS = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Bidi_Control}]/u;

/** Returns `most`, or the index before that where a cut at `most` would part a character. */
export function endBefore(text, most) {
  return most < text.length && /[\uD800-\uDBFF]/.test(text.charAt(most - 1)) ? most - 1 : most;
}
