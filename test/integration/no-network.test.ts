import { beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { cable, Machine } from '../fixtures/machines.ts'

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

/** How long a connection may take to stand, in ms; the default of `upstream.connectTimeout`. */
const CONNECT_TIMEOUT_MS = 5_000

/** A laptop whose network leads nowhere: what it sends vanishes, questions to name servers as well. */
async function startLaptop(): Promise<Machine> {
  const [laptop, wall] = [await Machine.start(), await Machine.start()]
  await cable(laptop, 'eth0', wall, 'eth0')
  await wall.ip('link set eth0 up')
  // The gateway takes all packets, and passes none on.
  await laptop.ip(
    'addr add 10.92.0.2/24 dev eth0',
    'link set eth0 up',
    'neigh add 10.92.0.1 lladdr 02:00:00:00:00:01 dev eth0',
    'route add default via 10.92.0.1',
  )
  return laptop
}

it.each([
  ['is not reached', 'docker.io', 'http://192.0.2.1:5000'],
  ['has a name that nobody resolves', 'registry.example.com', 'https://registry.example.com'],
])('nobody waits twice for a registry that %s', { timeout: 240_000 }, async (_what, registry, url) => {
  const laptop = await startLaptop()
  const node = await laptop.node(['--no-mdns', '--registry', `${registry}=${url}`])
  const ask = async (path: string) => {
    const began = performance.now()
    const { status, text } = await laptop.get(`http://127.0.0.1:5050/v2/${registry}/library/app/${path}`)
    expect(status).toBe(503)
    return { ms: performance.now() - began, text }
  }
  const first = await ask('manifests/latest')
  expect(first.ms).toBeGreaterThan(0.5 * CONNECT_TIMEOUT_MS)
  expect(first.text).toContain('cannot be reached')
  // Long enough that a client would have been the next to try.
  const end = performance.now() + 2 * CONNECT_TIMEOUT_MS
  const digest = digestOf(Buffer.from('nobody has it'))
  while (performance.now() < end) {
    for (const path of ['manifests/latest', `manifests/${digest}`, `blobs/${digest}`, 'tags/list']) {
      expect((await ask(path)).ms).toBeLessThan(0.8 * CONNECT_TIMEOUT_MS)
    }
  }
  expect(node.log.filter(({ msg }) => String(msg).includes('a registry can not be reached'))).toHaveLength(1)
})

it('a node without any network but loopback starts at once', { timeout: 120_000 }, async () => {
  const laptop = await Machine.start()
  const node = await laptop.node(['--registry', 'docker.io=http://192.0.2.1:5000'])
  const ready = node.log.find(({ msg }) => msg === 'ready')
  expect(ready?.ms).toBeLessThan(CONNECT_TIMEOUT_MS)
  const answer = await laptop.get('http://127.0.0.1:5050/v2/library/app/manifests/latest')
  expect(answer.status).toBe(503)
})
