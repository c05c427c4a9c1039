// better-sse on node's own server: node better_sse.mjs PORT; a channel for each topic, as its documentation broadcasts.
import { createServer } from "node:http";

import { createChannel, createSession } from "better-sse";

const channels = new Map();

function channel(topic) {
    if (!channels.has(topic)) channels.set(topic, createChannel());
    return channels.get(topic);
}

function publish(request, response, topic) {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
        channel(topic).broadcast(Buffer.concat(chunks).toString());
        answer(response, {});
    });
}

function answer(response, members) {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(members));
}

const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    const topic = searchParams.get("topic");
    if (pathname === "/health") {
        let streams = 0;
        for (const each of channels.values()) streams += each.sessionCount;
        answer(response, { streams });
    } else if (request.method === "POST") {
        publish(request, response, topic);
    } else {
        channel(topic).register(await createSession(request, response));
    }
});

server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
