// Tells which events are pieces of an LLM's answer, and of which answer. Knows the shapes that are in use; no DOM.
// Anybody may publish anything: nothing here trusts the type of a member, and the work for one event is bounded.

import { readJson } from "./json.js";
import { cut, textOf } from "./text.js";

const SILENCE = 20_000; // ms without a token after which the next one without an id begins another answer
const LARGEST = 65_536; // characters of data that may be a token; no model sends as much at once
const MOST_CHOICES = 8; // of one event
const LONGEST_NAME = 200; // characters of an id or a model

/**
 * @typedef {object} Token
 * @property {string} answer which answer it belongs to
 * @property {string} text what it adds
 * @property {boolean} [counts] it adds text, or may: not a mere beginning or end
 * @property {boolean} [done] nothing follows
 * @property {string} [reason] why the answer has ended, where that was no finish
 * @property {string} [model] who answers, where the event says so
 */

export class TokenReader {
  // By topic: the answer that an event without an id belongs to, `{ answer, time }`.
  #current = new Map();
  #made = 0;

  /**
   * Returns the pieces in an event: none for most events, one for a token, and one for each answer that the event ends.
   *
   * @param {{type: string, data: string, topics: string[], time: number}} event
   * @returns {Token[]}
   */
  read(event) {
    const topic = event.topics[0] ?? "";
    if (event.data === "[DONE]") return this.#end(topic);
    if (event.type === "token") return this.#plain(event, topic);
    if (event.type === "done" || event.type === "end") return this.#end(topic);
    const object = event.data.length <= LARGEST && MAYBE.test(event.data) ? objectIn(event.data) : null;
    if (object === null) return [];
    return this.#openAi(object, topic) ?? this.#responses(object, topic) ?? this.#anthropic(object, topic, event) ?? [];
  }

  /** OpenAI chat completions, and the many servers that speak the same: `choices[].delta.content`. */
  #openAi(object, topic) {
    if (object.object !== "chat.completion.chunk" || !Array.isArray(object.choices)) return null;
    const tokens = object.choices.slice(0, MOST_CHOICES).map((choice) => {
      const answer = `${topic}\n${name(object.id)}\n${name(choice?.index ?? 0)}`;
      this.#remember(topic, answer);
      const text = string(choice?.delta?.content);
      const done = choice?.finish_reason != null;
      return { answer, text, counts: text !== "", done, model: name(object.model) };
    });
    return tokens.length > 0 ? tokens : [{ answer: `${topic}\n${name(object.id)}\n0`, text: "" }]; // the usage chunk
  }

  /** OpenAI responses: `response.output_text.delta`, by item. */
  #responses(object, topic) {
    if (!string(object.type).startsWith("response.output_text.")) return null;
    const answer = `${topic}\n${name(object.item_id)}\n${name(object.content_index ?? 0)}`;
    if (object.type === "response.output_text.done") return [{ answer, text: "", done: true }];
    return object.type.endsWith(".delta") ? [{ answer, text: string(object.delta), counts: true }] : null;
  }

  /** Anthropic messages: `message_start` names the message, the deltas after it do not. */
  #anthropic(object, topic, event) {
    if (object.type === "message_start") {
      const answer = `${topic}\n${name(object.message?.id) || this.#made++}`;
      this.#remember(topic, answer, event.time);
      return [{ answer, text: "", model: name(object.message?.model) }];
    }
    if (object.type === "content_block_delta" && object.delta?.type === "text_delta") {
      return [{ answer: this.#running(topic, event.time), text: string(object.delta.text), counts: true }];
    }
    return object.type === "message_stop" ? this.#end(topic) : null;
  }

  /** Plain text, or JSON with one text, under the event type `token`. */
  #plain(event, topic) {
    const object = event.data.length <= LARGEST ? objectIn(event.data) : null;
    const text = object && [object.token, object.text, object.content, object.delta].find((it) => typeof it === "string");
    return [{ answer: this.#running(topic, event.time), text: text ?? event.data, counts: true }];
  }

  #running(topic, time) {
    const current = this.#current.get(topic);
    const goesOn = current && time - (current.time ?? time) < SILENCE;
    const answer = goesOn ? current.answer : `${topic}\n#${this.#made++}`;
    this.#remember(topic, answer, time);
    return answer;
  }

  #remember(topic, answer, time) {
    this.#current.set(topic, { answer, time });
  }

  #end(topic) {
    const current = this.#current.get(topic);
    this.#current.delete(topic);
    return current ? [{ answer: current.answer, text: "", done: true }] : [];
  }
}

// A cheap look before JSON.parse() of every event.
const MAYBE = /"(?:chat\.completion\.chunk|response\.output_text\.\w+|message_start|content_block_delta|message_stop)"/;

function objectIn(text) {
  return text.startsWith("{") ? readJson(text) : null;
}

function string(value) {
  return typeof value === "string" ? value : "";
}

function name(value) {
  return cut(textOf(value), LONGEST_NAME);
}
