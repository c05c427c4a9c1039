// Ornaments of an event are the chart, an answer that is put together, a sentence for a screen reader. Each may fail, by a
// fault of ours or by its input: the event is shown all the same, and the console says what went wrong, once.

const MOST = 20; // different faults that are told

const told = new Set();

/**
 * Does work that the page can do without.
 *
 * @template T
 * @param {() => T} work
 * @param {T} [otherwise]
 * @returns {T} what the work returned, or `otherwise` where it threw
 */
export function adorn(work, otherwise) {
  try {
    return work();
  } catch (fault) {
    tell(fault);
    return otherwise;
  }
}

function tell(fault) {
  const text = String(fault);
  if (told.size >= MOST || told.has(text)) return;
  told.add(text);
  reportError(fault);
}
