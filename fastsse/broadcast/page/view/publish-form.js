// Publishes one event from the form, and shows the hub's answer: its id, or the problem beside the field that it names.

import { readProblem } from "./connection.js";

const FIELDS = ["topic", "event", "data"];

/**
 * @param {string} path of the hub's events
 * @param {{topic: string, event?: string, data: string}} event
 * @returns {Promise<{id: string, topics: string[], subscribers: number}>}
 * @throws {Refused} with the problem of the answer
 */
export async function publish(path, { topic, event, data }) {
  const form = new URLSearchParams({ topic, data });
  if (event) form.set("event", event);
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), { method: "POST", body: form });
  } catch {
    throw new Refused({ detail: "the hub cannot be reached" });
  }
  if (answer.ok) return answer.json();
  const unexplained = { detail: `the hub answered ${answer.status} ${answer.statusText}`.trim() };
  throw new Refused((await readProblem(answer)) ?? unexplained);
}

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? "the hub refused");
    this.field = problem.field;
    this.rule = problem.rule ?? this.message; // beside the field, which shows its own name and value
  }
}

export class PublishForm {
  #path;
  #form = document.querySelector("#publish");
  #answer = document.querySelector("#publish-answer");
  #topicIsOurs = true; // until somebody types another topic, the field follows what the page follows

  constructor(path) {
    this.#path = path;
    this.#form.addEventListener("submit", (submit) => (submit.preventDefault(), this.#send()));
    this.#form.addEventListener("keydown", (key) => {
      if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) this.#form.requestSubmit();
    });
    this.#form.elements.topic.addEventListener("input", (input) => (this.#topicIsOurs = input.target.value === ""));
    this.#form.addEventListener("input", (input) => this.#mark(input.target.name, ""));
  }

  suggestTopic(topic) {
    if (this.#topicIsOurs) this.#form.elements.topic.value = topic ?? "";
  }

  focus() {
    this.#form.closest("details").open = true;
    this.#form.elements.data.focus();
  }

  async #send() {
    const { topic, event, data } = this.#form.elements;
    for (const field of FIELDS) this.#mark(field, "");
    this.#form.setAttribute("aria-busy", "true");
    try {
      const receipt = await publish(this.#path, { topic: topic.value, event: event.value, data: data.value });
      const { id, subscribers } = receipt;
      this.#say(`published as ${id}, to ${subscribers} ${subscribers === 1 ? "subscriber" : "subscribers"}`, "good");
    } catch (refused) {
      this.#refuse(refused);
    } finally {
      this.#form.removeAttribute("aria-busy");
    }
  }

  #refuse({ field, message, rule }) {
    if (!FIELDS.includes(field)) return this.#say(message, "bad");
    this.#say("not published", "bad");
    this.#mark(field, rule);
    this.#form.elements[field].focus();
  }

  #mark(field, problem) {
    const input = this.#form.elements[field];
    const error = document.querySelector(`#publish-${field}-error`);
    if (!input || !error) return;
    error.textContent = problem;
    error.hidden = !problem;
    if (problem) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  #say(text, tone) {
    this.#answer.textContent = text;
    this.#answer.className = `answer-line ${tone}`;
  }
}
