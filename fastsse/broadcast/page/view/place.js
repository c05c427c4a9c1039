// Where the page began, so that a reload shows the same: an answer that is being typed is whole again.
//
// A session of one tab remembers it, for the topics that it follows. The address may name a beginning, too, as in
// `?topic=answers/1&last_event_id=earliest`, for a link that shows everything from the first event on.

const KEY = "place";

/** Returns the last event ID with which a page that was just loaded begins; "" for what is new. */
export function beginning(topics) {
  const [load] = performance.getEntriesByType("navigation");
  const again = load?.type === "reload" || load?.type === "back_forward";
  return (again && remembered(topics)) || (new URLSearchParams(location.search).get("last_event_id") ?? "");
}

/** Remembers the last event ID from which a reload gets all that is shown. */
export function remember(topics, place) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ topics, place }));
  } catch {
    // A browser may forbid it, or have no room: a reload then begins with what is new.
  }
}

function remembered(topics) {
  try {
    const known = JSON.parse(sessionStorage.getItem(KEY));
    return JSON.stringify(known.topics) === JSON.stringify(topics) ? known.place : "";
  } catch {
    return "";
  }
}
