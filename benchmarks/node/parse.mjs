// eventsource-parser, asked by benchmarks/node/__init__.py: one JSON request a line in, one answer a line out.
//
//   {"open": file, "sizes": [...], "chunks": n}   a stream, and where it is cut
//   {"pass": n}                                    read it n times; nanoseconds of one pass
//   {"answers": true}                              data and type of each event
//
// Bytes go through TextDecoder, as every user of a fetch body does. The data of every event is read once.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const require = createRequire(import.meta.url)
const name = process.argv[2]
const { createParser } = await import(pathToFileURL(require.resolve(name)))
const { version } = require(`${name}/package.json`)

let chunks = []

function open(file, sizes) {
  const stream = readFileSync(file)
  let at = 0
  chunks = sizes.map((size) => new Uint8Array(stream.subarray(at, (at += size))))
}

function read(onEvent) {
  const parser = createParser({ onEvent })
  const decoder = new TextDecoder()
  for (const chunk of chunks) {
    parser.feed(decoder.decode(chunk, { stream: true }))
  }
}

let length = 0

// The lesser of the time that passed and the CPU time that all threads took: other processes do not slow it down,
// and collecting in parallel costs it nothing.
function pass(times) {
  const busy = process.cpuUsage()
  const begin = process.hrtime.bigint()
  for (let n = 0; n < times; n++) {
    read((event) => {
      length += event.data.length
    })
  }
  const passed = Number(process.hrtime.bigint() - begin)
  const { user, system } = process.cpuUsage(busy)
  return Math.min(passed, (user + system) * 1000 || passed) / times
}

function answers() {
  const seen = []
  read((event) => seen.push([event.data, event.event ?? 'message']))
  return seen
}

function answer(request) {
  if (request.open) return open(request.open, request.sizes) ?? true
  return request.pass ? pass(request.pass) : answers()
}

console.log(JSON.stringify({ version, node: process.version }))
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(answer(JSON.parse(line))))
}
