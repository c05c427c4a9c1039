// Follows an event stream with a client that people use and says what happens, one JSON object a line:
//
//     node client.js CLIENT URL        CLIENT is a key of `clients`
//
// {"open": true}, {"id": …, "data": …}, {"error": text}. Runs until it is killed.

import { fetchEventSource } from "@microsoft/fetch-event-source";
import polyfill from "event-source-polyfill";
import { EventSource } from "eventsource";
import ReconnectingEventSource from "reconnecting-eventsource";

const say = (news) => process.stdout.write(JSON.stringify(news) + "\n");

/** An EventSource that gives up at the end of a stream, as old browsers' do: so its wrapper makes a new one. */
class Mortal extends EventSource {
  set onerror(listener) {
    super.onerror = (event) => {
      this.close();
      listener(event);
    };
  }
}

function listen(source) {
  source.onopen = () => say({ open: true });
  source.onerror = (error) => say({ error: String(error.message ?? error.type) });
  source.addEventListener("message", ({ lastEventId, data }) => say({ id: lastEventId, data }));
}

const clients = {
  "eventsource": (url) => listen(new EventSource(url)),
  "event-source-polyfill": (url) => listen(new polyfill.EventSourcePolyfill(url)),
  "reconnecting-eventsource": (url) =>
    listen(new ReconnectingEventSource(url, { eventSourceClass: Mortal, max_retry_time: 200 })),
  "fetch-event-source": (url) => {
    globalThis.window = globalThis;
    globalThis.document = { removeEventListener() {}, addEventListener() {} };
    fetchEventSource(url, {
      openWhenHidden: true,
      onopen: async () => say({ open: true }),
      onmessage: ({ id, data }) => data !== "" && say({ id, data }),
      onclose: () => { throw new Error("the stream has ended"); },
      onerror: (error) => say({ error: error.message }) && undefined,
    });
  },
};

const [client, url] = process.argv.slice(2);
clients[client](url);
