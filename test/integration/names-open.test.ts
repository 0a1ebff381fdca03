import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeEach, describe, expect, it } from 'vitest'
import { ControlClient } from '../../daemon/cli/control.ts'
import { fingerprintOf } from '../../daemon/names/fingerprint.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { handedImage } from '../fixtures/local-image.ts'
import { cable, Machine, peersOf } from '../fixtures/machines.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { digestsOf, RegistryClient, testImage } from '../fixtures/registry-client.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const image = handedImage
const other = testImage([pseudoRandomBytes(300_000, 'other')])
const client = (node: TestNode, name = 'app') => new RegistryClient(node.url, name)

/** A node among strangers, as it is without any configuration. */
const laptop = (seeds: readonly TestNode[] = [], registry: object = {}) =>
  startTestNode({ seeds, config: { repositories: { public: [] }, registry } })

const tell = (node: TestNode, operation: string, peer?: string) =>
  ControlClient.use({ dataDir: node.dataDir }, (control) =>
    control.ask({ operation, input: peer === undefined ? {} : { peer } }),
  )

const peerIdOf = async (node: TestNode) => (await node.status()).peerId
const offersOf = async (node: TestNode) => (await node.status()).names.offers

describe('a name among strangers', () => {
  it('is pulled once its pusher is accepted; until then the client is told who offers it, and what to do', async () => {
    const a = await laptop()
    const b = await laptop([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    expect(a.log.filter(({ msg }) => `${msg}`.includes('registry.offerPushes'))).toHaveLength(1)
    await until(async () => (await offersOf(b)).length === 1)
    const peer = await peerIdOf(a)
    const fingerprint = fingerprintOf(peer)
    expect((await a.status()).names.fingerprint).toBe(fingerprint)
    expect(await offersOf(b)).toMatchObject([{ name: 'app:1', publisher: peer, fingerprint }])
    const refused = await client(b).send('GET', 'manifests/1')
    expect(refused.status).toBe(404)
    expect(refused.body.toString()).toMatch(new RegExp(`${fingerprint}.*layerd trust ${peer}`))
    expect((await client(b).send('GET', 'tags/list')).status).toBe(404)
    // Nobody can give anything else for a digest.
    expect(digestOf((await client(b).send('GET', `manifests/${image.digest}`)).body)).toBe(image.digest)

    const offered = { name: 'localhost/app:1', digest: image.digest, publisher: peer, fingerprint }
    expect(await tell(b, 'images')).toMatchObject({ offers: [{ ...offered, isAccepted: false }] })
    expect(await tell(a, 'images')).toMatchObject({ images: [{ name: 'localhost/app:1' }], offers: [] })
    expect(await tell(b, 'trust', fingerprint)).toMatchObject({ peerId: peer, fingerprint, names: ['app:1'] })
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
    const list = { self: { peerId: await peerIdOf(b) }, trusted: [{ peerId: peer, fingerprint }], offers: [] }
    expect(await tell(b, 'trust-list')).toMatchObject(list)
    await until(async () => (await b.status()).store.blobs === 4)
    expect(await tell(b, 'images')).toMatchObject({ offers: [{ ...offered, isAccepted: true, isHere: true }] })

    // Whoever accepts it later has it from those who did.
    const c = await laptop([b])
    await untilConnected(b, c)
    await a.stop()
    await tell(c, 'trust', peer)
    await until(async () => (await client(c).send('HEAD', 'manifests/1')).status === 200)
    expect(await client(c).pull(image, '1')).toEqual(digestsOf(image))
    await tell(c, 'untrust', peer)
    expect((await client(c).send('GET', 'manifests/1')).status).toBe(404)
  })

  it('is what this node has pushed itself, and a conflict is shown', async () => {
    const a = await laptop()
    const b = await laptop([a])
    await untilConnected(a, b)
    await client(b).push(other, '1')
    await client(a).push(image, '1')
    await tell(b, 'trust', await peerIdOf(a))
    await until(async () => (await b.status()).names.conflicts.length === 1)
    const got = await client(b).send('HEAD', 'manifests/1')
    expect(got.headers['docker-content-digest']).toBe(other.digest)
    expect(got.headers.warning).toContain(`${image.digest} by ${await peerIdOf(a)}`)
  })

  it('is not heard of where pushes are offered in closed swarms only', async () => {
    const a = await laptop([], { offerPushes: 'closed' })
    const b = await laptop([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await client(b).push(other, '1')
    await until(async () => (await offersOf(a)).length === 1)
    expect([await offersOf(b), (await a.status()).provided]).toEqual([[], 0])
    expect(a.log.some(({ msg }) => `${msg}`.includes('registry.offerPushes'))).toBe(false)
  })

  it('of docker.io stays that: no peer takes it over where mirrors ask for it', async () => {
    const a = await laptop()
    const b = await laptop([a])
    await untilConnected(a, b)
    await tell(b, 'trust', await peerIdOf(a))
    await client(a, 'team/app').push(image, '1')
    await until(async () => (await client(b, 'team/app').send('HEAD', 'manifests/1')).status === 200)
    const mirror = { host: new URL(b.url).host }
    const asMirror = await new RegistryClient(b.url, 'team/app', mirror).send('GET', 'manifests/1')
    expect(asMirror.status).not.toBe(200)
    const whole = await new RegistryClient(b.url, 'localhost/team/app', mirror).send('HEAD', 'manifests/1')
    expect(whole.headers['docker-content-digest']).toBe(image.digest)
  })

  it('is not heard of, nor its content, from a node that pulled it in a closed swarm and is among strangers now', async () => {
    const config = { repositories: { public: [] } }
    const a = await startTestNode({ isClosed: true, config })
    const dataDir = await tempDir()
    const b = await startTestNode({ isClosed: true, seeds: [a], dataDir, config })
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await until(async () => (await client(b).send('HEAD', 'manifests/1')).status === 200)
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
    await until(async () => (await b.status()).store.blobs === 4)
    expect((await b.status()).provided).toBe(4)
    await b.stop()
    const opened = await startTestNode({ dataDir, config })
    const stranger = await laptop([opened])
    await untilConnected(opened, stranger)
    expect((await opened.status()).provided).toBe(0)
    expect(await offersOf(stranger)).toEqual([])
  })

  it.each([
    ['trust', 'nobody', '"nobody" is neither a PeerId nor the fingerprint of a peer that offers something here'],
    ['trust', '', 'peer: '],
    ['untrust', '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X', 'is not accepted here'],
  ])('%s %s is refused with what to do', async (operation, peer, text) => {
    await expect(tell(await laptop(), operation, peer)).rejects.toThrow(text)
  })

  it('counts by rule, and acceptance is refused where it would change nothing', async () => {
    const node = await laptop([], { publishers: ['nobody'] })
    const peer = '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X'
    await expect(tell(node, 'trust', peer)).rejects.toThrow('registry.publishers (nobody) does not name "members"')
    await expect(tell(node, 'trust', await peerIdOf(node))).rejects.toThrow('this node itself')
  })
})

describe('machines on cables, without any configuration', () => {
  beforeEach(async (context) => {
    const reason = await withoutNamespaces()
    if (reason !== undefined) context.skip(reason)
  })

  it('hand an image from one to the next by mDNS alone, when the first is off and its clock was a day ahead', async () => {
    const [a, b, c] = (await Promise.all([1, 2, 3].map(() => Machine.start()))) as [Machine, Machine, Machine]
    await cable(a, 'eth1', b, 'eth1')
    await cable(b, 'eth2', c, 'eth2')
    await a.ip('addr add 10.1.0.1/24 dev eth1', 'link set eth1 up')
    await b.ip('addr add 10.1.0.2/24 dev eth1', 'link set eth1 up')
    await b.ip('addr add 10.2.0.2/24 dev eth2', 'link set eth2 up')
    await c.ip('addr add 10.2.0.3/24 dev eth2', 'link set eth2 up')
    const folders = await Promise.all([a, b, c].map(async () => join(await tempDir(), 'data')))
    const start = async (machine: Machine, index: number, variables: NodeJS.ProcessEnv = {}) =>
      await machine.node(['--data-dir', folders[index] ?? ''], { LAYERD_REPOSITORIES_PUBLIC: '', ...variables })
    const run = async (machine: Machine, verb: string) =>
      await machine.run(process.execPath, join(import.meta.dirname, '../fixtures/local-image.ts'), verb, 'app')
    const layerd = async (index: number, ...words: string[]) =>
      (await promisify(execFile)(process.execPath, [bin, ...words, '--data-dir', folders[index] ?? ''])).stdout

    const first = await start(a, 0, { NODE_OPTIONS: `--import ${dayAhead}` })
    const second = await start(b, 1)
    await until(async () => (await peersOf(second)) === 1)
    await run(a, 'push')
    const { peerId } = await first.status()
    await until(async () => (await layerd(1, 'trust', '--list')).includes(`${peerId}  app:1`))
    expect(await run(b, 'pull')).toMatch(/^404 .*layerd trust 12D3/)
    expect(await layerd(1, 'trust', peerId)).toContain('is accepted; it has pushed: app:1')
    expect(await run(b, 'pull')).toBe('pulled')
    await until(async () => (await second.status()).store.blobs === 4)
    await first.stop()

    const third = await start(c, 2)
    await until(async () => (await peersOf(third)) === 1)
    await layerd(2, 'trust', peerId)
    await until(async () => (await run(c, 'pull')) === 'pulled')
    // Three nodes and a dozen commands start one after the other, which takes minutes on a busy machine.
  }, 600_000)
})

/** A module that sets a process's clock a day ahead. */
const dayAhead = 'data:text/javascript,const{now}=Date;Date.now=()=>now()+864e5'

const bin = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname
