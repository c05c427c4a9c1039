// The hub's numbers over the last minute: their values at a few moments, and from these rates and quantiles. Knows time
// and arithmetic; neither the network nor the page.

export const SPAN = 60_000; // ms that are kept
const GAP = 15_000; // ms without a sample after which a rate would say little about now

export class Samples {
  #kept = []; // {time, numbers}, oldest first

  get all() {
    return this.#kept;
  }

  /** @param {number} time ms, of a clock that only goes forward */
  add(time, numbers) {
    const last = this.#kept.at(-1);
    const another = last && (last.numbers.epoch !== numbers.epoch || last.numbers.published > numbers.published);
    if (another || (last && time - last.time > GAP)) this.#kept = [];
    this.#kept.push({ time, numbers });
    while (this.#kept[0].time < time - SPAN) this.#kept.shift();
  }

  /** Returns `read(newer, older, seconds)` of each two neighbouring samples, as {time, value}. */
  steps(read) {
    return this.#kept.slice(1).map(({ time, numbers }, index) => {
      const before = this.#kept[index];
      return { time, value: read(numbers, before.numbers, (time - before.time) / 1000) };
    });
  }

  /** Returns how much a counter grew per second, between each two samples. */
  rates(read) {
    return this.steps((newer, older, seconds) => (read(newer) - read(older)) / seconds);
  }

  /** Returns a histogram of what was observed between the oldest sample and the newest. */
  observed(read) {
    return difference(read(this.#kept.at(-1).numbers), read(this.#kept[0].numbers));
  }
}

export function difference(newer, older) {
  return { bounds: newer.bounds, counts: newer.counts.map((count, index) => count - older.counts[index]) };
}

/**
 * Returns the value below which a share of the observations lies, as Prometheus has it: evenly spread within a bucket.
 *
 * @param {{bounds: number[], counts: number[]}} histogram the last bucket has no upper bound
 * @param {number} share 0 to 1
 * @returns {number | null} null where nothing was observed, Infinity beyond the last bound
 */
export function quantile({ bounds, counts }, share) {
  let rest = share * counts.reduce((sum, count) => sum + count, 0);
  if (rest === 0) return null;
  let bucket = 0;
  while (counts[bucket] < rest) rest -= counts[bucket++];
  if (bucket >= bounds.length) return Infinity;
  const low = bounds[bucket - 1] ?? 0;
  return low + ((bounds[bucket] - low) * rest) / counts[bucket];
}
