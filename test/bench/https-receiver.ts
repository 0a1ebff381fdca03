import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'

// node https-receiver.ts PORT DIGEST: prints the milliseconds that it takes to receive and hash what a sender sends.

const DEADLINE_MS = 60_000
/** Bytes of a first transfer, which is cut off: connecting is over, and the code compiled, when the time is taken. */
const FIRST_BYTES = 32_000_000

const [port = '', digest = ''] = process.argv.slice(2)

async function receive(limit: number): Promise<string> {
  const options = { host: '127.0.0.1', port, rejectUnauthorized: false, agent: false, timeout: DEADLINE_MS } as const
  const [response] = (await once(get(options), 'response')) as [IncomingMessage]
  const hash = createHash('sha256')
  let received = 0
  for await (const chunk of response) {
    hash.update(chunk)
    received += chunk.length
    if (received >= limit) break
  }
  return `sha256:${hash.digest('hex')}`
}

await receive(FIRST_BYTES)
const began = performance.now()
const actual = await receive(Number.POSITIVE_INFINITY)
if (actual !== digest) throw new Error(`received ${actual} instead of ${digest}`)
console.log(performance.now() - began)
