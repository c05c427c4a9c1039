// A small line of one number over the last minute. The line is for the eye alone: the numbers stand beside it.

import { SPAN } from "../stream/samples.js";
import { svg } from "./element.js";

const WIDTH = 100;
const HEIGHT = 20;

export class Spark {
  #area = svg("path", { class: "spark-area" });
  #line = svg("path", { class: "spark-line" });
  node = svg(
    "svg",
    { class: "spark", viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    this.#area,
    this.#line,
  );

  /** @param {{time: number, value: number}[]} points oldest first; the newest stands at the right end */
  draw(points) {
    const now = points.at(-1)?.time ?? 0;
    const top = Math.max(...points.map(({ value }) => value), Number.MIN_VALUE);
    const places = points.map(({ time, value }) => {
      const x = WIDTH * (1 - (now - time) / SPAN);
      return `${x.toFixed(1)} ${(HEIGHT * (1 - value / top)).toFixed(1)}`;
    });
    const start = places[0]?.split(" ")[0];
    this.#line.setAttribute("d", points.length > 0 ? `M${places.join("L")}` : "");
    this.#area.setAttribute("d", points.length > 0 ? `M${start} ${HEIGHT}L${places.join("L")}V${HEIGHT}Z` : "");
  }
}
