import { createHash } from 'node:crypto'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf, hexOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { libp2pNode } from '../fixtures/libp2p-node.ts'
import { TestSwarm, until } from '../fixtures/swarm.ts'

/** Passes on what comes to a port. @returns its own port, and how often bytes came from who connects there */
async function relayTo(port: number): Promise<{ port: number; packets: () => number }> {
  let packets = 0
  const relay = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.on('data', (bytes) => {
      packets++
      far.write(bytes)
    })
    far.on('data', (bytes) => near.write(bytes))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.setNoDelay(true)
      one.on('error', () => {}).on('close', () => other.destroy())
    }
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void relay.close())
  await until(() => relay.listening)
  return { port: (relay.address() as AddressInfo).port, packets: () => packets }
}

it('a question to a peer is one packet: the answer before is acknowledged with the next question', async () => {
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const coordinator = await swarm.node()
  const relay = await relayTo(Number(coordinator.address().split('/').at(-1)))
  const asker = await swarm.node({ config: { seeds: [`127.0.0.1:${relay.port}`] } })
  await until(() => asker.status().peers.length === 1)
  // What peers tell each other first.
  await delay(1000)
  const questions: number[] = []
  for (let i = 0; questions.length < 100; i++) {
    const digest = digestOf(Buffer.from(`blob ${i}`))
    const before = relay.packets()
    await asker.swarm.claim(digest, { wish: 'nothing', held: 0 }, AbortSignal.timeout(5000))
    // Or two packets could come as one.
    await delay(5)
    // It coordinates about half of them itself.
    if (relay.packets() > before) questions.push(relay.packets() - before)
  }
  expect(questions.sort((a, b) => a - b)[50]).toBe(1)
})

it('a peer that sends a lot has all the window that it needs, also where it is not read for a while', async () => {
  const [reader, writer] = [await libp2pNode(), await libp2pNode()]
  const size = 6 * 2 ** 20
  const hash = createHash('sha256')
  let received = 0
  await reader.handle('/test/1', (stream) => {
    stream.pause()
    setTimeout(() => stream.resume(), 300)
    stream.addEventListener('message', ({ data }) => {
      received += data.byteLength
      hash.update(data.subarray())
    })
  })
  const bytes = pseudoRandomBytes(size, 'window')
  const stream = await writer.dialProtocol(reader.getMultiaddrs(), '/test/1')
  stream.send(bytes)
  await until(() => received === size)
  expect(hash.digest('hex')).toBe(hexOf(digestOf(bytes)))
})
