// Follows an event stream with npm's EventSource and says what happens, one JSON object a line:
//
//     node follow.js URL [EVENT-TYPE...]
//
// {"open": true}, {"event": type, "id": …, "data": …}, {"error": status or null}. Runs until it is killed.

import { EventSource } from "eventsource";

const [url, ...types] = process.argv.slice(2);
const say = (news) => process.stdout.write(JSON.stringify(news) + "\n");
const source = new EventSource(url);

source.addEventListener("open", () => say({ open: true }));
source.addEventListener("error", (error) => say({ error: error.code ?? null }));
for (const type of ["message", "gap", ...types]) {
  source.addEventListener(type, ({ lastEventId, data }) => say({ event: type, id: lastEventId, data }));
}
