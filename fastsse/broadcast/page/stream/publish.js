// Publishes one event. Knows the request and its answers; the form that an event comes from is the business of
// publish-form.js.

import { readProblem } from "./problem.js";
import { cut, textOf } from "./text.js";

const LONGEST = 500; // characters of a problem

/**
 * Publishes an event and waits for the hub's receipt.
 *
 * @param {string} path of the hub's events
 * @param {{topic: string, event?: string, data: string}} event
 * @param {import("./sign-in.js").SignIn} signIn brings the token
 * @returns {Promise<{id: string, topics: string[], subscribers: number}>}
 * @throws {Refused} the hub cannot be reached, or says why it does not take the event
 */
export async function publish(path, { topic, event, data }, signIn) {
  const form = new URLSearchParams({ topic, data });
  if (event) form.set("event", event);
  let answer;
  try {
    answer = await signIn.fetch(path, { method: "POST", body: form });
  } catch {
    throw new Refused({}, "the hub cannot be reached");
  }
  if (answer.ok) return answer.json();
  throw new Refused((await readProblem(answer)) ?? {}, `the hub answered ${answer.status} ${answer.statusText}`.trim());
}

/** The news that an event was not published: in words, and beside which field they belong. */
export class Refused extends Error {
  constructor(problem, unexplained) {
    super(cut(textOf(problem.detail) || textOf(problem.title) || unexplained, LONGEST));
    this.field = problem.field;
    this.rule = cut(textOf(problem.rule) || this.message, LONGEST); // beside the field, which shows its own name and value
  }
}
