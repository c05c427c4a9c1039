// The Vercel AI SDK reads a UI message stream to its end, and prints the message that it has made of it.
import { DefaultChatTransport, readUIMessageStream } from "ai";
const transport = new DefaultChatTransport({ api: process.argv[2] });
const message = { id: "u1", role: "user", parts: [{ type: "text", text: "hello" }] };
const stream = await transport.sendMessages({ trigger: "submit-message", chatId: "c1", messages: [message] });
let last;
for await (const m of readUIMessageStream({ stream, onError: (e) => { console.error(e); process.exit(1); } })) last = m;
console.log(JSON.stringify(last));
