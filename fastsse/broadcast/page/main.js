// Joins the parts: one connection feeds the log, the answers, the chart and the status; the address names the topics.

import { onAddressChange, putInAddress, topicsOfAddress } from "./address.js";
import { Announcer } from "./announcer.js";
import { Answers } from "./answers.js";
import { RateChart } from "./chart.js";
import { Connection } from "./connection.js";
import { HubView } from "./hub.js";
import { EventLog } from "./log.js";
import { NumbersPoller } from "./numbers.js";
import { TopicPicker } from "./picker.js";
import { publish, PublishForm } from "./publisher.js";
import { showCommandLines } from "./shell.js";
import { installShortcuts } from "./shortcuts.js";
import { StatusView } from "./status.js";
import { TokenReader } from "./tokens.js";

const EVENTS = "events"; // relative to the page, so that the hub may be mounted anywhere
const HEALTH = "health";
const LABEL = "topics "; // begins the comment that names an event's topics

const START_WORDS = {
  connecting: "Connecting",
  open: "Listening",
  waiting: "Waiting for the hub",
  stopped: "Stopped",
  refused: "The hub refused",
};

const at = (selector) => document.querySelector(selector);

const announcer = new Announcer();
const chart = new RateChart();
const log = new EventLog(at("#log"), showLog);
const answers = new Answers((topic, text) => announcer.say(`Answer on ${topic}: ${text.slice(0, 300)}`));
const tokens = new TokenReader();
const picker = new TopicPicker((topics) => {
  putInAddress(topics);
  follow(topics);
});
const form = new PublishForm(EVENTS);
const connection = new Connection(EVENTS, { onEvent, onComment, onState });
const status = new StatusView(
  {
    stop: () => connection.stop(),
    reopen: () => connection.reopen(),
    retryNow: () => connection.retryNow(),
  },
  () => ({ events: log.total, lastEventId: connection.lastEventId }),
);

let reasonNoted = ""; // why the stream is down, so that it is said once
let unseen = 0; // events since the page was hidden

// --- the stream -----------------------------------------------------------------------------------------------------

function onEvent({ type, data, id, comments }) {
  const time = Date.now();
  const item = { kind: "event", time, topics: topicsOfLabel(comments), type, id, data };
  chart.count();
  status.heard();
  if (document.hidden) unseen += 1;
  if (type === "gap") return onGap(item);

  for (const token of tokens.read(item)) {
    answers.add(token, item);
    if (!token.done || token.text) item.token = token.text;
  }
  log.add(item);
  announcer.event(item);
}

function onGap(item) {
  const gap = parse(item.data) ?? {};
  status.gap();
  log.add({ ...item, kind: "gap", gap, topics: gap.topics ?? item.topics });
  announcer.say(`Gap: events were missed, because of: ${gap.reason}`);
}

/** The topics in the event's label, a comment like `: topics ["news"]`; those that we follow when it has none. */
function topicsOfLabel(comments) {
  const label = comments.find((comment) => comment.startsWith(LABEL));
  const topics = label && parse(label.slice(LABEL.length));
  return Array.isArray(topics) ? topics.map(String) : connection.topics;
}

function onComment(text) {
  status.heard();
  if (text === "") status.heartbeat();
}

function onState(state) {
  status.show(state);
  picker.refuse(state.name === "refused" && state.problem?.field === "topic" ? state.reason : "");
  if (state.name === "open") noteOpening(state);
  else if (state.name === "waiting") noteOutage(state);
  else if (state.name === "refused") note(`refused: ${state.reason}`, "bad");
  else if (state.name === "stopped") note(state.reason);
  document.body.classList.toggle("idle", state.name === "idle");
  document.body.classList.toggle("open", state.name === "open");
  at("#start-state").textContent = START_WORDS[state.name] ?? "";
  showLog();
}

function noteOutage({ reason, planned }) {
  if (reason === reasonNoted) return;
  reasonNoted = reason;
  note(`the stream is down: ${reason}`, planned ? undefined : "bad");
}

function noteOpening({ again, downFor, resumedAfter }) {
  reasonNoted = "";
  const after = resumedAfter ? `, goes on after ${resumedAfter}` : "";
  if (again) note(`reconnected after ${(downFor / 1000).toFixed(1)} s${after}`, "good");
  else note(`open: follows ${connection.topics.join(", ")}${after}`, "good");
}

function note(text, tone) {
  log.add({ kind: "note", time: Date.now(), topics: [], type: "", id: "", data: "", text, tone });
  announcer.say(text);
}

function follow(topics, options) {
  picker.show(topics);
  showCommandLines(topics, (text) => announcer.say(text));
  form.suggestTopic(topics[0]);
  at("#hello").textContent = `Publish a hello to ${topics[0] ?? "news"}`;
  connection.follow(topics, options);
  showTitle();
}

// --- the log and its tools ------------------------------------------------------------------------------------------

function showLog() {
  const { total, kept, shown, waiting, paused } = log;
  const starting = total === 0;
  at("#start").hidden = !starting;
  document.body.classList.toggle("starting", starting);
  at("#shown").textContent = kept === shown ? "" : `${shown} of ${kept} rows`;
  at("#pause").textContent = paused ? (waiting > 0 ? `Resume (${waiting})` : "Resume") : "Pause";
  at("#pause").setAttribute("aria-pressed", paused);
}

function clear() {
  log.clear();
  answers.clear();
}

at("#pause").addEventListener("click", () => log.pause(!log.paused));
at("#clear").addEventListener("click", clear);
at("#filter").addEventListener("input", (input) => log.filter(input.target.value));
at("#hide-tokens").addEventListener("change", (change) => log.hideTokens(change.target.checked));
at("#replay").addEventListener("click", () => {
  clear();
  connection.follow(connection.topics, { lastEventId: "earliest" });
});

// --- the start ------------------------------------------------------------------------------------------------------

at("#hello").addEventListener("click", async () => {
  const topic = picker.topics[0] ?? "news";
  picker.add(topic);
  try {
    await publish(EVENTS, { topic, event: "greeting", data: JSON.stringify({ hello: topic, from: "the live page" }) });
    at("#hello-answer").textContent = "";
  } catch (refused) {
    at("#hello-answer").textContent = refused.message;
  }
});

for (const suggestion of document.querySelectorAll("[data-topic]")) {
  suggestion.addEventListener("click", () => picker.add(suggestion.dataset.topic));
}

// --- title, theme, keys ---------------------------------------------------------------------------------------------

function showTitle() {
  const topics = connection.topics.length > 0 ? `${connection.topics.join(", ")} · ` : "";
  document.title = `${unseen > 0 ? `(${unseen}) ` : ""}${topics}fastsse`;
}

document.addEventListener("visibilitychange", () => {
  unseen = 0;
  showTitle();
});
setInterval(() => unseen > 0 && showTitle(), 1000);

function nextTheme() {
  showTheme(globalThis.nextTheme());
}

function showTheme(theme) {
  at("#theme").setAttribute("aria-label", `theme: ${theme}`);
  at("#theme").title = `theme: ${theme}`;
}

at("#theme").addEventListener("click", nextTheme);
showTheme(document.documentElement.dataset.theme);

installShortcuts({
  "/": () => at("#filter").focus(),
  p: () => log.pause(!log.paused),
  c: clear,
  t: () => picker.focus(),
  n: () => form.focus(),
  d: nextTheme,
});

// --- the hub's own numbers ------------------------------------------------------------------------------------------

const hub = new HubView();
const poller = new NumbersPoller(HEALTH, () => at(".hub").open, {
  onNumbers: (numbers) => hub.show(numbers),
  onNone: (reason) => hub.none(reason),
});
at(".hub").addEventListener("toggle", () => poller.wake());

// --- the beginning --------------------------------------------------------------------------------------------------

at(".hub").open = matchMedia("(min-width: 1040px)").matches;
poller.wake();
at(".publishing").open = matchMedia("(min-width: 760px)").matches;
at(".terminal").open = matchMedia("(min-width: 1040px)").matches;

onAddressChange(follow);
follow(topicsOfAddress());

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
