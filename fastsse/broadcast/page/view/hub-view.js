// Shows what the hub does for everybody, over all topics and readers. The numbers of the page's own stream are the
// business of status.js.

import { difference, quantile, Samples } from "../stream/samples.js";
import { element } from "./element.js";
import { amount, bytes, counted, seconds } from "./format.js";
import { Spark } from "./spark.js";

const NONE = "–";

const RATES = [
  { name: "published", title: "events published", read: (numbers) => numbers.published, show: amount },
  {
    name: "delivered",
    title: "events sent, each reader counted",
    read: (numbers) => numbers.delivered,
    show: amount,
  },
  {
    name: "joined sends",
    title: "sends that carried them, several in one",
    read: (numbers) => numbers.sends,
    show: amount,
  },
  { name: "bytes sent", title: "bytes of those sends", read: (numbers) => numbers.sent_bytes, show: bytes },
];

const SPREADS = [
  {
    name: "delivery",
    title: "from an event's report to its send, for readers that keep up",
    read: (numbers) => numbers.latency,
    show: seconds,
  },
  { name: "lag, events", title: "how far blocked readers were behind", read: (numbers) => numbers.lag, show: amount },
];

const FACTS = [
  { name: "history", show: ({ history }) => `${bytes(history.bytes)}, ${counted(history.topics, "topic")}` },
  { name: "topics followed", show: ({ topics }) => amount(topics) },
  { name: "blocked readers", title: "streams with a pending send", show: ({ blocked }) => amount(blocked) },
  {
    name: "skipped ahead",
    title: "times that a slow reader was moved ahead",
    show: ({ skipped }) => amount(skipped),
  },
  {
    name: "replays",
    title: "streams that began with what was missed or kept",
    wide: true,
    show: ({ openings }) => replays(openings),
  },
  { name: "gaps", title: "gap events, by reason", wide: true, show: ({ gaps }) => byReason(gaps) },
  { name: "ended", title: "streams that ended, by reason", wide: true, show: ({ ended }) => byReason(ended) },
  {
    name: "refused",
    title: "streams that were not let in, by reason",
    wide: true,
    show: ({ refused }) => byReason(refused),
  },
];

export class HubView {
  #none = document.querySelector("#hub-none");
  #body = document.querySelector("#hub-numbers");
  #samples = new Samples();
  #rates = RATES.map((row) => ({ ...row, ...rowOf("#hub-rates", row) }));
  #streams = rowOf("#hub-rates", { name: "open streams", title: "now, and since the hub started" });
  #spreads = SPREADS.map((row) => ({ ...row, ...rowOf("#hub-spreads", row) }));
  #facts = FACTS.map((fact) => ({ ...fact, node: factOf(fact) }));

  show(numbers) {
    this.#samples.add(performance.now(), numbers);
    this.#explain(stateOf(numbers));
    this.#body.hidden = false;
    for (const row of this.#rates) this.#showRate(row, numbers);
    this.#showStreams(numbers);
    for (const row of this.#spreads) this.#showSpread(row);
    for (const { node, show } of this.#facts) put(node, show(numbers));
  }

  /** @param {string} reason a sentence */
  none(reason) {
    this.#explain(reason);
    this.#body.hidden = true;
  }

  #explain(sentence) {
    put(this.#none, sentence);
    this.#none.hidden = !sentence;
  }

  #showRate({ read, show, spark, first, second }, numbers) {
    const rates = this.#samples.rates(read);
    spark.draw(rates);
    put(first, rates.length > 0 ? `${show(rates.at(-1).value)}/s` : NONE);
    put(second, show(read(numbers)));
  }

  #showStreams({ streams, openings }) {
    const { spark, first, second } = this.#streams;
    spark.draw(this.#samples.all.map(({ time, numbers }) => ({ time, value: numbers.streams })));
    put(first, amount(streams));
    put(second, amount(sum(openings)));
  }

  #showSpread({ read, show, spark, first, second }) {
    const high = this.#samples.steps((newer, older) => quantile(difference(read(newer), read(older)), 0.99) ?? 0);
    const observed = this.#samples.observed(read);
    const last = observed.bounds.at(-1);
    spark.draw(high.map(({ time, value }) => ({ time, value: Math.min(value, last) })));
    for (const [node, share] of [[first, 0.5], [second, 0.99]]) {
      const value = quantile(observed, share);
      put(node, value === null ? NONE : value > last ? `> ${show(last)}` : show(value));
    }
  }
}

/** Says what is out of the ordinary; "" when nothing is. */
function stateOf({ status, stalled }) {
  if (status !== "ok") return "The hub is draining: it ends its streams and takes no new ones.";
  if (typeof stalled !== "number") return "";
  return `The hub has not reached its store for ${seconds(stalled)}: nothing can be published until it does.`;
}

function rowOf(selector, { name, title }) {
  const [spark, first, second] = [new Spark(), element("td"), element("td")];
  const head = element("th", { scope: "row", title }, name);
  document.querySelector(selector).append(element("tr", {}, head, element("td", {}, spark.node), first, second));
  return { spark, first, second };
}

function factOf({ name, title, wide }) {
  const value = element("dd");
  const fact = element("div", { class: wide && "wide" }, element("dt", { title }, name), value);
  document.querySelector("#hub-facts").append(fact);
  return value;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function sum(counts) {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}

function byReason(counts) {
  const told = Object.entries(counts).filter(([, count]) => count > 0);
  return told.map(([reason, count]) => `${reason} ${amount(count)}`).join(", ") || "none";
}

function replays({ new: _, ...again }) {
  return byReason(again);
}
