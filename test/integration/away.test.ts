import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, until, untilConnected } from '../fixtures/node.ts'

it.each([235, 700_000])('what a peer has is had from it while upstream is known to be away: %s bytes', async (size) => {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const registries = { 'docker.io': upstream.url }
  const a = await startTestNode({ registries, isClosed: true })
  const b = await startTestNode({ registries, isClosed: true, seeds: [a] })
  await untilConnected(a, b)
  const paths: string[] = []
  for (let count = 0; count < 6; count++) {
    const blob = upstream.addBlob(pseudoRandomBytes(size, `blob ${count}`))
    paths.push(`/v2/docker.io/library/app/blobs/${blob}`)
  }
  for (const path of paths) expect((await ask(a.url, path)).status).toBe(200)
  await until(async () => (await a.status()).provided >= paths.length)
  await upstream.close()
  const missing = digestOf(Buffer.from('missing'))
  const got = []
  for (let count = 0; count < 2; count++)
    got.push((await ask(b.url, `/v2/docker.io/library/app/blobs/${missing}`)).status)
  for (const [index, path] of paths.entries()) {
    const headers = index % 3 === 0 ? { range: 'bytes=10-99' } : {}
    got.push((await ask(b.url, path, { headers, method: index % 3 === 2 ? 'HEAD' : 'GET' })).status)
  }
  expect(got).toEqual([503, 503, 206, 200, 200, 206, 200, 200])
})
