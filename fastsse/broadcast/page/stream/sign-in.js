// The token of this tab, and the requests that bring it to the hub.
//
// The token stands in this object's memory and in the header Authorization of requests to this hub: in no URL, no log, no
// cookie and no text of the page. sessionStorage holds it only where somebody asked for that; it outlives a reload there,
// and not the tab. Subject and time that the page shows are read from the token itself, unchecked: only
// the hub knows whether it is good, and is asked before the token is taken.

import { readJson } from "./json.js";
import { readProblem } from "./problem.js";
import { cut, textOf } from "./text.js";

const KEY = "token"; // in sessionStorage
const LONGEST = 8192; // characters: the hub reads no longer token
const LONGEST_NAME = 256; // characters of a subject
const LONGEST_REASON = 300; // characters
const FORM = /^[\w.~+/=-]+$/; // RFC 6750, section 2.1
const ASKS = /^Bearer\b/i; // a challenge for a token, and not one of a proxy for a password
const WHY = /\berror_description="([^"]*)"/;

/** Says whether a token, or a better one, would change an answer. */
export function tokenHelps(answer) {
  return ASKS.test(answer.headers.get("WWW-Authenticate") ?? "");
}

/** Says whether an answer asks for a token, or for a better one. */
export function asksForToken(answer) {
  return (answer.status === 401 || answer.status === 403) && tokenHelps(answer);
}

export class SignIn {
  #path;
  #onChange;
  #token = "";
  #claims = {};
  /** The hub has access control; null until something tells. */
  closed = null;
  /** Why the last token is good no more; "" while there is one, or was none. */
  reason = "";

  /**
   * @param {string} path of what the hub answers everybody, and refuses with a token that is not good
   * @param {() => void} onChange
   */
  constructor(path, onChange) {
    this.#path = path;
    this.#onChange = onChange;
    const kept = recall();
    if (isToken(kept)) this.#take(kept);
  }

  get signedIn() {
    return this.#token !== "";
  }

  /** The bearer's name as the token gives it; "" where it gives none. */
  get subject() {
    return cut(textOf(this.#claims.sub), LONGEST_NAME);
  }

  /** When the token expires, as it says itself: ms since the epoch, or null. */
  get until() {
    const { exp } = this.#claims;
    return Number.isFinite(exp) && Math.abs(exp) < 8.64e12 ? exp * 1000 : null;
  }

  /** Sends a request to the hub with the token, and hears from the answer what becomes of it. */
  async fetch(url, options = {}) {
    const token = this.#token;
    const answer = await send(url, options, token);
    if (asksForToken(answer)) {
      this.closed = true;
      const mine = token !== "" && token === this.#token;
      if (mine && answer.status === 401) this.drop(why(answer) || "the hub does not take the token");
      else this.#onChange();
    }
    return answer;
  }

  /** Learns from the answer to a request without a token whether the hub has access control. */
  learn(closed) {
    if (this.signedIn || this.closed !== null) return;
    this.closed = closed;
    this.#onChange();
  }

  /**
   * Asks the hub about a token, and takes it when it is good.
   *
   * @param {string} text as it was pasted
   * @param {boolean} keep in sessionStorage
   * @returns {Promise<string>} why it was not taken; "" when it was
   */
  async begin(text, keep) {
    const token = text.trim().replace(/^Bearer\s+/i, "");
    if (token === "") return "a token is needed";
    if (!isToken(token)) return `this is no token: at most ${LONGEST} letters, digits and - . _ ~ + / =`;
    const refused = await this.#ask(token);
    if (refused) return refused;
    this.#take(token);
    if (keep) store(token);
    else forget();
    this.#onChange();
    return "";
  }

  /** Signs out. */
  end() {
    this.drop("");
  }

  /** Forgets the token, because it is good no more. */
  drop(reason) {
    this.#token = "";
    this.#claims = {};
    this.reason = cut(reason, LONGEST_REASON);
    forget();
    this.#onChange();
  }

  #take(token) {
    this.#token = token;
    this.#claims = claimsOf(token);
    this.closed = true;
    this.reason = "";
  }

  /** Returns why the hub does not take a token; "" where it does. */
  async #ask(token) {
    let answer;
    try {
      answer = await send(this.#path, { cache: "no-store" }, token);
    } catch {
      return "the hub cannot be reached";
    }
    if (answer.ok) return "";
    const body = await readProblem(answer);
    if (answer.status === 503 && typeof body?.status === "string") return ""; // the state of a hub that takes no readers now
    const detail = textOf(body?.detail) || why(answer) || `the hub answered ${answer.status} ${answer.statusText}`.trim();
    return cut(detail, LONGEST_REASON);
  }
}

/** Sends a request of this page; a token leaves for no other origin, not even by a redirect. */
function send(url, options, token) {
  const target = new URL(url, document.baseURI);
  if (token === "") return fetch(target, options);
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  return fetch(target, { ...options, headers, mode: "same-origin" });
}

/** Returns the words of a challenge. */
function why(answer) {
  return WHY.exec(answer.headers.get("WWW-Authenticate") ?? "")?.[1] ?? "";
}

function isToken(text) {
  return text.length <= LONGEST && FORM.test(text);
}

/** Reads the claims of a token without any check; an empty object where it has none. */
function claimsOf(token) {
  const [, part = ""] = token.split(".");
  try {
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (it) => it.charCodeAt(0));
    return readJson(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

function recall() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function store(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // A browser may forbid it: the token then lives as long as the page.
  }
}

function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // as above: nothing was kept
  }
}
