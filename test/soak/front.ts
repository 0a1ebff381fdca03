import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { Draw } from './draw.ts'

// Stands before the registry, in its network namespace: passes requests on, counts what is given, and fails as it is told.
// node front.ts ADDRESS PORT REGISTRY_PORT SEED

/**
 * - `well`: as the registry
 * - `away`: connections are refused
 * - `silent`: nothing is answered, and what is being given stops
 * - `slow`: bodies come at 1 MiB a second in all, and answers after two seconds
 * - `failing`: 503 for everything
 * - `cutting`: bodies end early, each at another place
 */
export type Mode = 'well' | 'away' | 'silent' | 'slow' | 'failing' | 'cutting'

/** Told when a blob is asked for, before its first byte. */
export interface Asked {
  readonly event: 'asked'
  readonly id: number
  readonly node: string
  readonly digest: string
}

/** Told when the last byte of a blob has been given, or the connection is gone. */
export interface Given {
  readonly event: 'given'
  readonly id: number
  /** Of the first byte in the blob. */
  readonly start: number
  /** Put on the wire, what never arrived included. */
  readonly bytes: number
  readonly isWhole: boolean
}

export interface Counted {
  readonly event: 'counted'
  readonly node: string
  /** Such as `HEAD manifests 200`. */
  readonly what: string
  readonly bytes: number
}

const [, , address = '', port = '', registryPort = '', seed = ''] = process.argv

/** Bytes a second of all bodies together where upstream is slow. */
const SLOW_RATE = 2 ** 20
/** Until a slow upstream begins to answer, in ms. */
const SLOW_START_MS = 2_000
/** A body is cut off after this part of it, at most. */
const CUT_PART = 0.9

let mode: Mode = 'well'
let changed = Promise.withResolvers<void>()
let requests = 0
/** When the line of a slow upstream is free again, in ms. */
let lineFree = 0

const tell = (event: Asked | Given | Counted) => void process.send?.(event)

async function setMode(next: Mode): Promise<void> {
  mode = next
  changed.resolve()
  changed = Promise.withResolvers()
  if (next === 'away') {
    server.close()
    server.closeAllConnections()
  } else if (!server.listening) await listen()
}

/** Waits while nothing is answered. */
async function whileSilent(): Promise<void> {
  while (mode === 'silent') await changed.promise
}

/** How often each URL was answered. */
const answered = new Map<string, number>()

/** Where the body of an answer is cut, as a part of it: by the seed and the URL, as requests come in another order in each run. */
function cutPartOf(url: string): number {
  const times = (answered.get(url) ?? 0) + 1
  answered.set(url, times)
  return new Draw(seed, 'cut', url, times).between(0, CUT_PART)
}

/** Lets bytes through at the rate of the line, and none while nothing is answered. */
function line(size: number, cutPart: number): Transform & { passed: number } {
  const cutAt = Math.floor(size * cutPart)
  const passing = Object.assign(
    new Transform({
      async transform(piece: Buffer, _, done) {
        await whileSilent()
        if (mode === 'slow') {
          const now = performance.now()
          lineFree = Math.max(now, lineFree) + (piece.length / SLOW_RATE) * 1000
          await delay(lineFree - now)
        }
        if (mode === 'cutting' && passing.passed + piece.length > cutAt) {
          done(new Error('cut off'))
          return
        }
        passing.passed += piece.length
        done(null, piece)
      },
    }),
    { passed: 0 },
  )
  return passing
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const node = incoming.headers['user-agent'] ?? 'nobody'
  const { method = 'GET', url = '' } = incoming
  const [, kind = 'ping', name = ''] = /\/(blobs|manifests|tags)\/([^/?]+)/.exec(url) ?? []
  await whileSilent()
  if (mode === 'slow') await delay(SLOW_START_MS)
  if (mode === 'failing') {
    outgoing.writeHead(503, { 'content-type': 'application/json' }).end('{"errors":[{"code":"UNAVAILABLE"}]}')
    tell({ event: 'counted', node, what: `${method} ${kind} 503`, bytes: 0 })
    return
  }
  const isBlob = kind === 'blobs' && method === 'GET'
  const id = ++requests
  if (isBlob) tell({ event: 'asked', id, node, digest: name })
  const asked = request({ port: registryPort, method, path: url, headers: incoming.headers })
  outgoing.on('close', () => asked.destroy())
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  asked.on('response', resolve).on('error', reject).end()
  const from = await promise
  outgoing.writeHead(from.statusCode ?? 502, from.headers)
  const size = Number(from.headers['content-length'] ?? 0)
  const passing = line(size, cutPartOf(url))
  const isWhole = await pipeline(from, passing, outgoing).then(
    () => true,
    () => false,
  )
  if (isBlob && from.statusCode !== undefined && from.statusCode < 300) {
    const start = Number(/^bytes (\d+)-/.exec(from.headers['content-range'] ?? '')?.[1] ?? 0)
    tell({ event: 'given', id, start, bytes: passing.passed, isWhole })
  } else if (isBlob) tell({ event: 'given', id, start: 0, bytes: 0, isWhole })
  tell({ event: 'counted', node, what: `${method} ${kind} ${from.statusCode}`, bytes: passing.passed })
}

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch(() => outgoing.destroy())
})

async function listen(): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(Number(port), address, resolve)
  await promise
}

process.on('message', (next: Mode) => void setMode(next))
process.on('disconnect', () => process.exit())
await listen()
process.send?.({ event: 'ready' })
