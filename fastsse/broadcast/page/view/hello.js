// The first thing to try: a button that follows a topic and publishes a greeting to it.

import { publish } from "../stream/publish.js";
import { cut } from "../stream/text.js";

const LONGEST = 200; // characters of a topic's name

export class HelloButton {
  #path;
  #picker;
  #signIn;
  #button = document.querySelector("#hello");
  #answer = document.querySelector("#hello-answer");

  /**
   * @param {string} path of the hub's events
   * @param {import("./picker.js").TopicPicker} picker of the topic that the greeting goes to
   * @param {import("../stream/sign-in.js").SignIn} signIn brings the token
   */
  constructor(path, picker, signIn) {
    this.#path = path;
    this.#signIn = signIn;
    this.#picker = picker;
    this.#button.addEventListener("click", () => this.#greet());
  }

  /** Names the topic on the button. */
  suggestTopic(topic) {
    this.#button.textContent = `Publish a hello to ${cut(topic, LONGEST)}`;
  }

  async #greet() {
    const topic = this.#picker.topics[0] ?? "news";
    this.#picker.add(topic);
    const data = JSON.stringify({ hello: topic, from: "the live page" });
    try {
      await publish(this.#path, { topic, event: "greeting", data }, this.#signIn);
      this.#answer.textContent = "";
    } catch (refused) {
      this.#answer.textContent = refused.message;
    }
  }
}
