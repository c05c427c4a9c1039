// JSON made readable without being read: the text's own tokens with other white space, so that 12345678901234567890,
// 1.0 and "\u00e9" are shown as they were sent, and duplicate keys stay.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g;
const LARGEST = 20_000; // characters; beyond that plain text is more use, and cheaper
const WIDTH = 96; // an object or array that fits stays on its line
const DEEPEST = 24; // levels that are indented

/**
 * Pieces `[kind, text]` of a JSON object or array, or null when the text is none. Kinds: key, string, number, literal,
 * mark, space.
 *
 * @param {string} text
 * @returns {[string, string][] | null}
 */
export function prettyJson(text) {
  if (text.length > LARGEST || !/^\s*[{[]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const tokens = text.match(TOKEN);
  return layOut(tokens, widths(tokens));
}

/** For each opening mark, by its index: how wide it would be on one line. */
function widths(tokens) {
  const result = new Map();
  const open = [];
  let width = 0; // of everything so far, on one line
  tokens.forEach((token, index) => {
    width += token.length + (token === "," || token === ":" ? 1 : 0);
    if (token === "{" || token === "[") open.push([index, width]);
    else if (token === "}" || token === "]") {
      const [start, before] = open.pop();
      result.set(start, width - before + 3);
    }
  });
  return result;
}

function layOut(tokens, width) {
  const pieces = [];
  const broken = []; // for each open container: is it spread over lines?
  const put = (kind, text) => pieces.push([kind, text]);
  const newLine = () => put("space", "\n" + "  ".repeat(Math.min(broken.filter(Boolean).length, DEEPEST)));

  tokens.forEach((token, index) => {
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      const empty = next === "}" || next === "]";
      broken.push(!empty && width.get(index) > WIDTH);
      put("mark", token);
      if (broken.at(-1)) newLine();
      else if (token === "{" && !empty) put("space", " ");
    } else if (token === "}" || token === "]") {
      if (broken.pop()) newLine();
      else if (token === "}" && tokens[index - 1] !== "{") put("space", " ");
      put("mark", token);
    } else if (token === ",") {
      put("mark", token);
      if (broken.at(-1)) newLine();
      else put("space", " ");
    } else if (token === ":") {
      put("mark", token);
      put("space", " ");
    } else {
      put(kindOf(token, next), token);
    }
  });
  return pieces;
}

function kindOf(token, next) {
  if (token.startsWith('"')) return next === ":" ? "key" : "string";
  return /^[-\d]/.test(token) ? "number" : "literal";
}
