// JSON made readable without being read: the text's own tokens with other white space, so that 12345678901234567890,
// 1.0 and "\u00e9" are shown as they were sent, and duplicate keys stay.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g;
const LARGEST = 20_000; // characters; beyond that plain text is more use, and cheaper
const MOST_LINES = 2000; // likewise
const WIDTH = 96; // an object or array that fits stays on its line
const DEEPEST = 24; // levels that are indented

/**
 * Cuts a JSON object or array into pieces `[kind, text]`; null when the text is none, or too much of one. Kinds: key,
 * string, number, literal, mark, space.
 *
 * @param {string} text
 * @returns {[string, string][] | null}
 */
export function prettyJson(text) {
  if (text.length > LARGEST || !/^\s*[{[]/.test(text) || readJson(text) === null) return null;
  const tokens = text.match(TOKEN);
  return layOut(tokens, widths(tokens));
}

/** Returns the value of a JSON text; null where the text is no JSON. */
export function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Returns for each opening mark, by its index, how wide its container would be on one line. */
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
  const broken = []; // for each open container, true when it is spread over lines
  let depth = 0; // how many of them are
  let lines = 1;
  const put = (kind, text) => pieces.push([kind, text]);
  const newLine = () => {
    lines += 1;
    put("space", "\n" + "  ".repeat(Math.min(depth, DEEPEST)));
  };

  for (const [index, token] of tokens.entries()) {
    if (lines > MOST_LINES) return null;
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      const empty = next === "}" || next === "]";
      broken.push(!empty && width.get(index) > WIDTH);
      put("mark", token);
      if (broken.at(-1)) {
        depth += 1;
        newLine();
      } else if (token === "{" && !empty) put("space", " ");
    } else if (token === "}" || token === "]") {
      if (broken.pop()) {
        depth -= 1;
        newLine();
      } else if (token === "}" && tokens[index - 1] !== "{") put("space", " ");
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
  }
  return pieces;
}

function kindOf(token, next) {
  if (token.startsWith('"')) return next === ":" ? "key" : "string";
  return /^[-\d]/.test(token) ? "number" : "literal";
}
