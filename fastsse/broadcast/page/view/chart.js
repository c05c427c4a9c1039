// Events per second over the last minute: one bar a second, the running second at the right end. The chart is SVG, so that
// its colours are the page's own and its lines are sharp at every zoom.

import { svg } from "./element.js";

const SECONDS = 60;
const HEIGHT = 40;
const BAR = 4;
const STEP = 5;
const LEAST_SCALE = 4; // events/s at full height, so that one event does not look like a flood

export class RateChart {
  #node = document.querySelector("#chart");
  #now = document.querySelector("#rate");
  #peak = document.querySelector("#peak");
  #counts = new Array(SECONDS).fill(0);
  #second = Math.floor(Date.now() / 1000); // of the last bar
  #frame = 0;
  #bars;

  constructor() {
    this.#node.setAttribute("viewBox", `0 0 ${SECONDS * STEP} ${HEIGHT}`);
    this.#bars = this.#counts.map((_, index) => svg("rect", { x: index * STEP, width: BAR, rx: 1 }));
    this.#node.append(...this.#bars);
    setInterval(() => this.#draw(), 1000);
    this.#draw();
  }

  count() {
    this.#advance();
    this.#counts[SECONDS - 1] += 1;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #advance() {
    const second = Math.floor(Date.now() / 1000);
    const passed = Math.min(Math.max(second - this.#second, 0), SECONDS);
    this.#second = second;
    if (passed > 0) this.#counts.splice(0, passed), this.#counts.push(...new Array(passed).fill(0));
  }

  #draw() {
    this.#frame = 0;
    this.#advance();
    const peak = Math.max(...this.#counts);
    const scale = HEIGHT / Math.max(peak, LEAST_SCALE);
    this.#bars.forEach((bar, index) => {
      const height = this.#counts[index] === 0 ? 1 : Math.max(2, this.#counts[index] * scale);
      bar.setAttribute("height", height);
      bar.setAttribute("y", HEIGHT - height);
      bar.classList.toggle("none", this.#counts[index] === 0);
    });
    const rate = Math.max(...this.#counts.slice(-2)); // a second that has just begun says little
    this.#now.textContent = rate.toLocaleString();
    this.#peak.textContent = `peak ${peak.toLocaleString()}`;
    this.#node.setAttribute("aria-label", `events per second over the last minute: now ${rate}, peak ${peak}`);
  }
}
