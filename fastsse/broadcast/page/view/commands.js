// Command lines that do from a terminal what the page does, with this hub's own address and the topics in view.

import { element } from "./element.js";

const PLAIN = /^[\w.~:/-]+$/; // needs no quoting, in a shell, a query or a form

/**
 * @param {string[]} topics
 * @param {boolean} closed the hub asks for a token, which the reader has in a variable of the shell
 */
export function commandLines(topics, closed) {
  const followed = topics.length > 0 ? topics : ["news"];
  const hub = location.href.replace(/[?#].*$/, "");
  const query = new URLSearchParams(followed.map((topic) => ["topic", topic]));
  const topic = followed[0];
  const url = hub.replace(/\/$/, "");
  const chat = followed.includes("chat") || topics.length === 0 ? "chat" : topic;
  const field = PLAIN.test(topic) ? `-d topic=${topic}` : `--data-urlencode ${quote(`topic=${topic}`)}`;
  const token = closed ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const lines = [
    ["follow", `curl -N ${quote(`${hub}events?${query}`)}${token}`],
    ["publish", `curl ${field} -d data=hello ${hub}events${token}`],
  ];
  if (closed) return lines;
  return [
    ...lines,
    ["an LLM's answer", `python examples/play.py examples/chat.sse --topic ${quote(chat)} --url ${url}`],
  ];
}

function quote(text) {
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Fills each `[data-commands]` of the page. */
export function showCommandLines(topics, closed, say) {
  for (const list of document.querySelectorAll("[data-commands]")) {
    list.replaceChildren(...commandLines(topics, closed).map(([title, line]) => commandLine(title, line, say)));
  }
}

function commandLine(title, line, say) {
  const copy = element("button", { type: "button", class: "copy", "aria-label": `copy the command: ${title}` }, "Copy");
  copy.addEventListener("click", async () => {
    const copied = await copyText(line);
    copy.textContent = copied ? "Copied" : "Press Ctrl+C";
    say(copied ? "copied" : "select the line and copy it");
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  const text = element("code", { tabindex: "0" }, line);
  return element("li", {}, element("span", { class: "command-title" }, title), text, copy);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text); // only where the page is secure, or local
    return true;
  } catch {
    return false;
  }
}
