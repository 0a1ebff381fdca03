import { describe, expect, it, onTestFinished } from 'vitest'
import { PeerCoordination } from '../../daemon/swarm/coordination/coordination.ts'
import { PeerLinks } from '../../daemon/swarm/link/links.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'

const isBlob = /GET .*\/blobs\//
const LAYERS = 40

interface Image {
  readonly manifest: Digest
  readonly blobs: readonly Digest[]
}

/** An image of a configuration and 40 small layers. @param isNamed whether its manifest names them */
function addImage(upstream: FakeUpstream, name: string, isNamed = true): Image {
  const add = (what: string, size: number) => {
    const bytes = pseudoRandomBytes(size, `${name} ${what}`)
    return { digest: upstream.addBlob(bytes), size }
  }
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', ...add('config', 2_000) }
  const layers = Array.from({ length: LAYERS }, (_, index) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    ...add(`layer ${index}`, 20_000 + 1_000 * index),
  }))
  const named = isNamed ? { config, layers } : { config, layers: [], annotations: { name } }
  return {
    manifest: upstream.addManifest({ schemaVersion: 2, ...named }),
    blobs: [config, ...layers].map(({ digest }) => digest),
  }
}

/** As containerd does: the manifest, the configuration, then 3 layers at a time. */
async function pull(node: TestNode, { manifest, blobs }: Image): Promise<void> {
  expect((await ask(node.url, `/v2/app/manifests/${manifest}`)).status).toBe(200)
  const left = [...blobs]
  const next = async () => {
    for (let blob = left.shift(); blob !== undefined; blob = left.shift()) {
      const got = await ask(node.url, `/v2/app/blobs/${blob}`)
      expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    }
  }
  await Promise.all([next(), next(), next()])
}

/** Counts messages between the nodes of this process from now on. */
function countMessages() {
  const counted = { coordination: 0, links: 0 }
  const { send } = PeerLinks.prototype
  const { tell } = PeerCoordination.prototype
  PeerLinks.prototype.send = function (this: PeerLinks, ...args) {
    counted.links++
    send.apply(this, args)
  }
  PeerCoordination.prototype.tell = async function (this: PeerCoordination, ...args) {
    counted.coordination++
    await tell.apply(this, args)
  }
  onTestFinished(() => {
    PeerLinks.prototype.send = send
    PeerCoordination.prototype.tell = tell
  })
  return counted
}

async function start() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const options = { registries: { 'docker.io': upstream.url } }
  const seed = await startTestNode({ ...options, isClosed: true })
  const others = [
    await startTestNode({ ...options, seeds: [seed], isClosed: true }),
    await startTestNode({ ...options, seeds: [seed], isClosed: true }),
  ]
  await untilConnected(seed, ...others)
  const settled = async () => {
    for (const node of [seed, ...others])
      await until(async () => {
        const { store, provided, provideQueue } = await node.status()
        return provided === store.blobs && provideQueue === 0
      })
  }
  // Links are made, and code is compiled.
  const warm = addImage(upstream, 'warm')
  await Promise.all([seed, ...others].map((node) => pull(node, warm)))
  await settled()
  return { upstream, seed, others, settled }
}

describe('an image of many small layers', () => {
  it('is looked for as one: nothing comes from upstream that a node has, and nodes say little', async () => {
    const { upstream, seed, others, settled } = await start()
    /** The second wave of an image that one node has. */
    const wave = async (image: Image) => {
      await pull(seed, image)
      await settled()
      const before = upstream.seen(isBlob).length
      const counted = countMessages()
      await Promise.all(others.map((node) => pull(node, image)))
      expect(upstream.seen(isBlob)).toHaveLength(before)
      const { coordination, links } = counted
      await settled()
      return { coordination, links }
    }
    const apart: Awaited<ReturnType<typeof wave>>[] = []
    const asOne: typeof apart = []
    for (let round = 0; round < 3; round++) {
      apart.push(await wave(addImage(upstream, `apart ${round}`, false)))
      asOne.push(await wave(addImage(upstream, `as one ${round}`)))
    }
    const least = (waves: typeof apart, what: 'coordination' | 'links') => Math.min(...waves.map((one) => one[what]))
    // Three messages for each blob and node where each is asked for by itself: it is wanted, it is there, and the answer.
    expect(least(asOne, 'coordination')).toBeLessThan(least(apart, 'coordination') / 2)
    // A question and its answer for each blob and node, and little else.
    expect(least(asOne, 'links')).toBeLessThan(4 * others.length * LAYERS)
  })

  it('is read once from upstream by nodes that all ask for it in one moment', async () => {
    const { upstream, seed, others } = await start()
    const before = upstream.seen(isBlob).length
    const image = addImage(upstream, 'cold')
    await Promise.all([seed, ...others].map((node) => pull(node, image)))
    const paths = upstream.seen(isBlob).map(({ path }) => path)
    const read = paths.slice(before).map((path) => path.slice(path.lastIndexOf('/') + 1))
    expect(read.toSorted()).toEqual(image.blobs.toSorted())
  })
})
