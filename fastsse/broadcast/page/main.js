// Joins the parts: one connection feeds the log, the answers, the chart and the status; the address names the topics.
//
// In stream/ lies what comes from the hub and what goes to it: nothing there draws. In view/ lies what draws, one part of
// the page a file. Only this file knows which part is told what.

import { Connection } from "./stream/connection.js";
import { readEnd, readGap, topicsOfLabel } from "./stream/labels.js";
import { NumbersPoller } from "./stream/poller.js";
import { SignIn } from "./stream/sign-in.js";
import { cut, listOf } from "./stream/text.js";
import { TokenReader } from "./stream/tokens.js";
import { AccountView } from "./view/account.js";
import { onAddressChange, putInAddress, topicsOfAddress } from "./view/address.js";
import { Announcer } from "./view/announcer.js";
import { Answers } from "./view/answers.js";
import { RateChart } from "./view/chart.js";
import { showCommandLines } from "./view/commands.js";
import { HelloButton } from "./view/hello.js";
import { HubView } from "./view/hub-view.js";
import { EventLog } from "./view/log.js";
import { adorn } from "./view/ornament.js";
import { TopicPicker } from "./view/picker.js";
import { beginning, remember } from "./view/place.js";
import { PublishForm } from "./view/publish-form.js";
import { installShortcuts } from "./view/shortcuts.js";
import { StatusView } from "./view/status.js";
import { ThemeButton } from "./view/theme-button.js";
import { Title } from "./view/title.js";

const EVENTS = "events"; // relative to the page, so that the hub may be mounted anywhere
const HEALTH = "health";

const START_WORDS = {
  connecting: "Connecting",
  open: "Listening",
  waiting: "Waiting for the hub",
  stopped: "Stopped",
  refused: "The hub refused",
};

const END_REASONS = {
  failed: "failed",
  cancelled: "cancelled",
  timeout: "took too long",
  size: "became too large",
  shutdown: "the hub was stopped",
};

const at = (selector) => document.querySelector(selector);

const announcer = new Announcer();
const signIn = new SignIn(HEALTH, onSignIn);
const chart = new RateChart();
const log = new EventLog(at("#log"), showLog);
const answers = new Answers((topic, text) => announcer.say(`Answer on ${topic}: ${text.slice(0, 300)}`));
const tokens = new TokenReader();
const picker = new TopicPicker((topics) => {
  putInAddress(topics);
  follow(topics);
});
const hello = new HelloButton(EVENTS, picker, signIn);
const form = new PublishForm(EVENTS, signIn);
const theme = new ThemeButton();
const title = new Title();
const connection = new Connection(EVENTS, { onEvent, onComment, onState, onPlace }, signIn);
const status = new StatusView(
  {
    stop: () => connection.stop(),
    reopen: () => connection.reopen(),
    retryNow: () => connection.retryNow(),
  },
  () => ({ events: log.total, lastEventId: connection.lastEventId }),
);

const account = new AccountView(signIn, { onSignedIn, onSignedOut });

let reasonNoted = ""; // why the stream is down, so that the log says so once

// --- the stream -----------------------------------------------------------------------------------------------------

// An event always gets to the log. All else adorns the event, and each ornament may fail by itself.
function onEvent({ type, data, id, comments }) {
  const topics = adorn(() => topicsOfLabel(comments)) ?? connection.topics;
  const item = { kind: "event", time: Date.now(), topics, type, id, data };
  adorn(() => title.count());
  adorn(() => chart.count());
  adorn(() => status.heard());
  if (type === "gap") return onGap(item);
  if (type === "end") return onEnd(item);
  if (type === "expired") return; // the end of the stream that follows says so

  adorn(() => readTokens(item));
  log.add(item);
  adorn(() => announcer.event(item));
}

function readTokens(item, reason = "finished") {
  for (const token of tokens.read(item)) {
    if (reason !== "finished") token.reason = END_REASONS[reason] ?? "ended";
    if (!token.done || token.text) item.token = cut(token.text, 1000);
    answers.add(token, item);
  }
}

function onGap(item) {
  const { gap, topics } = readGap(item.data);
  log.add({ ...item, kind: "gap", gap, topics: topics ?? item.topics });
  adorn(() => status.gap());
  adorn(() => announcer.say(`Gap: events were missed, because of: ${gap.reason || "unknown"}`));
}

function onEnd(item) {
  const { topic, reason } = readEnd(item.data);
  adorn(() => readTokens({ ...item, topics: [topic] }, reason));
  const name = cut(listOf([topic]), 300);
  if (reason === "finished") note(`${name} has ended`, "good");
  else note(`${name} has ended: ${END_REASONS[reason] ?? (reason || "unknown")}`, "bad");
}

function onPlace(place) {
  remember(connection.topics, place);
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
  document.body.classList.toggle("locked", Boolean(state.asks));
  at("#lock-reason").textContent = state.asks ? sentence(state.reason) : "";
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
  const after = resumedAfter ? `, goes on after ${cut(resumedAfter, 200)}` : "";
  if (again) note(`reconnected after ${(downFor / 1000).toFixed(1)} s${after}`, "good");
  else note(`open: follows ${cut(listOf(connection.topics), 1000)}${after}`, "good");
}

function note(text, tone) {
  log.add({ kind: "note", time: Date.now(), topics: [], type: "", id: "", data: "", text, tone });
  announcer.say(text);
}

function follow(topics, options) {
  picker.show(topics);
  showCommands();
  form.suggestTopic(topics[0]);
  hello.suggestTopic(topics[0] ?? "news");
  connection.follow(topics, options);
  title.follow(topics);
  remember(topics, options?.lastEventId ?? connection.lastEventId);
}

function showCommands() {
  showCommandLines(picker.topics, Boolean(signIn.closed), (text) => announcer.say(text));
}

function sentence(reason) {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}

for (const suggestion of document.querySelectorAll("[data-topic]")) {
  suggestion.addEventListener("click", () => picker.add(suggestion.dataset.topic));
}

// --- who is signed in -----------------------------------------------------------------------------------------------

let known = { closed: signIn.closed, reason: "" };

function onSignIn() {
  const { closed, reason } = signIn;
  account.show();
  if (closed !== known.closed) showCommands();
  if (reason && reason !== known.reason) note(`signed out: ${reason}`, "bad");
  known = { closed, reason };
}

function onSignedIn() {
  note(signIn.subject ? `signed in as ${cut(listOf([signIn.subject]), 100)}` : "signed in", "good");
  askAnew();
}

function onSignedOut() {
  clear(); // what the token let somebody read stays on no screen
  note("signed out");
  askAnew();
}

/** Lets the hub answer anew, with another token or none; the stream goes on where it stood. */
function askAnew() {
  connection.follow(connection.topics);
  poller.wake();
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
  remember(connection.topics, connection.lastEventId);
}

at("#pause").addEventListener("click", () => log.pause(!log.paused));
at("#clear").addEventListener("click", clear);
at("#filter").addEventListener("input", (input) => log.filter(input.target.value));
at("#hide-tokens").addEventListener("change", (change) => log.hideTokens(change.target.checked));
at("#replay").addEventListener("click", () => {
  clear();
  remember(connection.topics, "earliest");
  connection.follow(connection.topics, { lastEventId: "earliest" });
});

installShortcuts({
  "/": () => at("#filter").focus(),
  p: () => log.pause(!log.paused),
  c: clear,
  t: () => picker.focus(),
  n: () => form.focus(),
  d: () => theme.next(),
});

// --- the hub's own numbers ------------------------------------------------------------------------------------------

const hub = new HubView();
const poller = new NumbersPoller(
  HEALTH,
  () => at(".hub").open || signIn.closed === null,
  {
    onNumbers: (numbers) => hub.show(numbers),
    onNone: (reason) => hub.none(reason),
  },
  signIn,
);
at(".hub").addEventListener("toggle", () => poller.wake());

// --- the beginning --------------------------------------------------------------------------------------------------

at(".hub").open = matchMedia("(min-width: 1040px)").matches;
poller.wake();
at(".publishing").open = matchMedia("(min-width: 760px)").matches;
at(".terminal").open = matchMedia("(min-width: 1040px)").matches;

onAddressChange(follow);
const first = topicsOfAddress();
follow(first, { lastEventId: beginning(first) });
