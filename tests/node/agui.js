// AG-UI's own client runs an agent, and prints the types of its events and the messages that it has made of them.
import { HttpAgent } from "@ag-ui/client";
const agent = new HttpAgent({ url: process.argv[2], threadId: "t1", initialMessages: [{ id: "u1", role: "user", content: "hello" }] });
const types = [];
await agent.runAgent({ runId: "r1" }, { onEvent: ({ event }) => { types.push(event.type); } });
console.log(JSON.stringify({ types, messages: agent.messages }));
