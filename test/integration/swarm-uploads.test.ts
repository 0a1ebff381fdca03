import { pino } from 'pino'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { KnownPeer } from '../../daemon/swarm/known-peers.ts'
import { createCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { TransferClient } from '../../daemon/swarm/transfer/client.ts'
import { STUCK_UPLOAD_MS, transferDeadlines } from '../../daemon/swarm/transfer/constants.ts'
import { TransferServer } from '../../daemon/swarm/transfer/server.ts'
import { collect, MemoryContent, until } from '../fixtures/swarm.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Lets an upload be stuck after `ms`. */
function stuckAfter(ms: number): void {
  const real = globalThis.setTimeout
  const fake = (callback: () => void, after?: number) => real(callback, after === STUCK_UPLOAD_MS ? ms : after)
  const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(fake as typeof setTimeout)
  onTestFinished(() => spy.mockRestore())
}

/** A blob of some pieces, read from a server that tells of the ends of uploads; each piece is there when it is let go. */
async function upload(pieces: number) {
  const content = new MemoryContent()
  const digest = content.add(Buffer.alloc(pieces * 64 * 1024))
  let letGo = () => {}
  const hold = () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    content.gate = promise
    letGo = resolve
  }
  hold()
  const ends: boolean[] = []
  const certificate = await createCertificate()
  const common = { deadlines: transferDeadlines }
  const server = new TransferServer({
    ...common,
    certificate,
    content,
    identify: () => 'peer',
    onUpgrade: () => {},
    onUpload: () => (isWritten) => ends.push(isWritten),
    uploads: 4,
    onServed: () => {},
    log: pino({ level: 'silent' }),
  })
  const port = await server.start({ host: '127.0.0.1', port: 0 })
  cleanups.push(() => server.stop())
  const peer: KnownPeer = { peerId: 'peer', host: '127.0.0.1', port, fingerprint: certificate.fingerprint }
  const own = await createCertificate()
  const locate = async () => peer
  const client = new TransferClient({ ...common, certificate: own, known: () => peer, locate, onBroken: () => {} })
  cleanups.push(() => client.stop())
  const opened = client.open('peer', digest, { start: 0 }, AbortSignal.timeout(10_000))
  const read = opened.then(({ body }) => collect(body))
  /** The next piece goes; those after it wait. */
  const next = () => {
    const go = letGo
    hold()
    go()
  }
  const all = () => {
    content.gate = undefined
    letGo()
  }
  return { ends, read, next, all }
}

describe('an upload', () => {
  test('of which nothing is taken for long is not counted any more, and goes on', async () => {
    stuckAfter(50)
    const { ends, read, all } = await upload(2)
    await until(() => ends.length > 0)
    expect(ends).toEqual([false])
    all()
    expect(await read).toHaveLength(2 * 64 * 1024)
    await until(() => ends.at(-1) === true)
  })

  test('of which something is taken now and then is counted to its end', async () => {
    stuckAfter(1000)
    const { ends, read, next, all } = await upload(6)
    const begin = performance.now()
    for (let piece = 0; piece < 4; piece++) {
      await new Promise((resolve) => setTimeout(resolve, 400))
      next()
    }
    expect(performance.now() - begin).toBeGreaterThan(1500)
    all()
    expect(await read).toHaveLength(6 * 64 * 1024)
    await until(() => ends.length > 0)
    expect(ends).toEqual([true])
  })
})
