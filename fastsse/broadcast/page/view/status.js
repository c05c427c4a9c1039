// Shows what the page knows about its stream: state, reconnections, gaps, heartbeats, last event ID.

import { cut } from "../stream/text.js";

const LONG = 4000; // ms of connecting after which we say what may be in the way
const REACTION = 500; // ms in which a press is still meant for what the button said before

const FACTS = ["last-event-id", "events-total", "reconnects", "gaps", "heard"];

const WORDS = {
  idle: "not connected",
  connecting: "connecting",
  open: "open",
  waiting: "waiting",
  stopped: "stopped",
  refused: "refused",
};

const ACTIONS = { waiting: "Retry now", open: "Disconnect", connecting: "Disconnect" };

export class StatusView {
  #pill = document.querySelector("#state");
  #word = document.querySelector("#state-word");
  #reason = document.querySelector("#reason");
  #action = document.querySelector("#connection-action");
  #facts = Object.fromEntries(FACTS.map((name) => [name, document.querySelector(`#${name}`)]));
  #counts;
  #state = { name: "idle" };
  #since = Date.now();
  #turnedAt = -Infinity; // when "Retry now" last became "Disconnect"
  #heardAt = null; // when anything came: an event, a label, a heartbeat
  #reconnects = 0;
  #gaps = 0;

  /**
   * @param {object} actions
   * @param {() => void} actions.stop
   * @param {() => void} actions.reopen
   * @param {() => void} actions.retryNow
   * @param {() => {events: number, lastEventId: string}} counts
   */
  constructor(actions, counts) {
    this.#counts = counts;
    this.#action.addEventListener("click", () => {
      const does = ACTIONS[this.#state.name];
      if (does === "Retry now") actions.retryNow();
      else if (does !== "Disconnect") actions.reopen();
      else if (performance.now() - this.#turnedAt > REACTION) actions.stop(); // else: a second click, or a late one
    });
    setInterval(() => this.#tick(), 250);
  }

  /** @param {import("../stream/connection.js").State} state */
  show(state) {
    if (this.#state.name === "waiting" && ACTIONS[state.name] === "Disconnect") this.#turnedAt = performance.now();
    this.#state = state;
    this.#since = Date.now();
    if (state.again) this.#put("reconnects", ++this.#reconnects);
    if (state.name === "open") this.heard();
    this.#pill.dataset.state = state.draining ? "draining" : state.name;
    this.#action.textContent = ACTIONS[state.name] ?? "Connect";
    this.#action.hidden = state.name === "idle";
    this.#tick();
  }

  heard() {
    this.#heardAt = Date.now();
  }

  heartbeat() {
    this.#pill.classList.remove("beat");
    requestAnimationFrame(() => this.#pill.classList.add("beat"));
    this.#tick();
  }

  gap() {
    this.#put("gaps", ++this.#gaps);
  }

  #put(fact, text) {
    if (this.#facts[fact].textContent !== String(text)) this.#facts[fact].textContent = text;
  }

  #tick() {
    const { name, until, draining } = this.#state;
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    const word = name === "waiting" ? `${draining ? "draining, " : ""}waiting ${seconds} s` : WORDS[name];
    if (this.#word.textContent !== word) this.#word.textContent = word;

    const reason = this.#explain();
    if (this.#reason.textContent !== reason) this.#reason.textContent = reason;
    this.#reason.hidden = !reason;
    const { events, lastEventId } = this.#counts();
    this.#put("events-total", events.toLocaleString());
    this.#put("last-event-id", cut(lastEventId, 200) || "none yet");
    this.#put("heard", this.#heardAt === null ? "nothing yet" : ago(Date.now() - this.#heardAt));
  }

  #explain() {
    if (this.#state.name === "connecting" && Date.now() - this.#since > LONG) {
      return "no answer yet; over HTTP/1.1 a browser opens at most six streams to one host, in all its tabs";
    }
    return this.#state.reason ?? "";
  }
}

function ago(ms) {
  const seconds = Math.floor(ms / 1000);
  return seconds < 1 ? "just now" : seconds < 120 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
}
