import { expect, it } from 'vitest'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'

const readiness = async (node: TestNode) => {
  const answer = await fetch(`http://${node.addresses.admin}/readyz`)
  return { status: answer.status, text: await answer.text() }
}

it('is not ready with fewer peers than admin.minPeers, and says so', async () => {
  const config = { admin: { minPeers: 1 } }
  const first = await startTestNode({ config })
  const why = 'the node has 0 peers that it can fetch from, and needs 1 (admin.minPeers)'
  expect(await readiness(first)).toEqual({ status: 503, text: `${why}\n` })
  expect((await first.status()).notReady).toBe(why)
  const second = await startTestNode({ seeds: [first] })
  await untilConnected(first, second)
  expect(await readiness(first)).toEqual({ status: 200, text: 'ok\n' })
  expect((await first.status()).notReady).toBeUndefined()
  await second.stop()
  await until(async () => (await readiness(first)).status === 503)
})

it('is ready without peers by default, and says which seeds answer', async () => {
  const gone = await startTestNode()
  const [address = ''] = (await gone.status()).multiaddrs
  await gone.stop()
  const seed = await startTestNode()
  const [reached = ''] = (await seed.status()).multiaddrs
  const node = await startTestNode({ config: { swarm: { seeds: [address, reached] } } })
  expect((await readiness(node)).status).toBe(200)
  await until(async () => (await node.status()).seeds.every(({ reached, problem }) => reached || problem !== undefined))
  expect((await node.status()).seeds).toEqual([
    { seed: address, reached: false, isSelf: false, problem: expect.stringMatching(/ECONNREFUSED/) },
    { seed: reached, reached: true, isSelf: false },
  ])
  expect((await node.status()).problems).toEqual([])
})

it('is no seed that it reaches itself', async () => {
  const before = await startTestNode()
  const [own = ''] = (await before.status()).multiaddrs
  await before.stop()
  const [, listen = ''] = /\/ip4\/(.*?)\/p2p\//.exec(own.replace('/tcp/', ':')) ?? []
  const node = await startTestNode({ config: { swarm: { listen, seeds: [listen] } } })
  await until(async () => (await node.status()).seeds.some(({ isSelf }) => isSelf))
  expect((await node.status()).seeds).toEqual([{ seed: listen, reached: false, isSelf: true }])
  expect((await node.status()).problems).toEqual([])
})
