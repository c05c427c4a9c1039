// The topics that the page follows, as chips that can be removed, and a field that adds one.

import { element } from "./element.js";
import { topicChip } from "./topic.js";

export class TopicPicker {
  #topics = [];
  #list = document.querySelector("#topics");
  #input = document.querySelector("#topic");
  #error = document.querySelector("#topic-error");
  #known = document.querySelector("#known-topics");
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    document.querySelector("#topic-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.add(this.#input.value);
      this.#input.value = "";
    });
    this.#input.addEventListener("keydown", (key) => {
      if (key.key === "Backspace" && this.#input.value === "" && this.#topics.length > 0) {
        this.#change(this.#topics.slice(0, -1));
      }
    });
  }

  get topics() {
    return this.#topics;
  }

  /** Shows these topics, without a call of the listener. */
  show(topics) {
    this.#topics = [...topics];
    this.refuse("");
    this.#list.replaceChildren(...this.#topics.map((topic) => element("li", {}, this.#chip(topic))));
    const known = new Set([...this.#topics, "news", "chat"]);
    this.#known.replaceChildren(...[...known].map((topic) => element("option", { value: topic })));
  }

  add(topic) {
    if (topic !== "" && !this.#topics.includes(topic)) this.#change([...this.#topics, topic]);
  }

  focus() {
    this.#input.focus();
  }

  /** Shows why the hub does not take these topics; "" takes the words away. */
  refuse(reason) {
    this.#error.textContent = reason;
    this.#error.hidden = !reason;
    this.#input.toggleAttribute("aria-invalid", Boolean(reason));
  }

  #chip(topic) {
    const remove = element("button", { type: "button", class: "remove", "aria-label": `stop following ${topic}` }, "×");
    remove.addEventListener("click", () => {
      this.#change(this.#topics.filter((other) => other !== topic));
      this.#input.focus();
    });
    return topicChip(topic, remove);
  }

  #change(topics) {
    this.show(topics);
    this.#onChange(topics);
  }
}
