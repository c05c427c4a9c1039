// The form that an event is published from. Shows the hub's answer: its id, or the problem beside the field that it names.

import { publish } from "../stream/publish.js";

const FIELDS = ["topic", "event", "data"];

export class PublishForm {
  #path;
  #signIn;
  #form = document.querySelector("#publish");
  #answer = document.querySelector("#publish-answer");
  #topicIsOurs = true; // until somebody types another topic, the field follows what the page follows

  constructor(path, signIn) {
    this.#path = path;
    this.#signIn = signIn;
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
      const fields = { topic: topic.value, event: event.value, data: data.value };
      const receipt = await publish(this.#path, fields, this.#signIn);
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
