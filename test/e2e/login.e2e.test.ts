import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import type { FixtureImage } from '../fixtures/images/images.ts'
import { sha256 } from '../fixtures/images/layers.ts'
import { type Generation, startContainerd } from './clients/containerd.ts'
import { configure } from './clients/containers.ts'
import { CriClient } from './clients/cri.ts'
import { type DockerGeneration, type ImageStore, startDocker } from './clients/docker.ts'
import { run } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// A registry wants a password that the node does not have. Each client gives the right one, a wrong one and none, and what it
// then says is what its user sees. After the first test the node has the image, so that the others are refused what is there.

const REGISTRY = 'private.example'
const RIGHT = { username: 'user', password: 'right' }
const WRONG = { username: 'user', password: 'wrong' }
/** bcrypt, which is all that docker-registry reads, of "right", as `htpasswd -B` writes it. */
const HTPASSWD = 'user:$2b$04$EQLMnNGBnp6py4kRzxLD8exTHIxa12d3JhlbUrE1gTRN5CwSaXoRq\n'

/** What layerd says to those who give nothing, and to those whose password is wrong; some clients don't show it. */
const ASKED = /this address of layerd asks for a login/
const UNKNOWN = /private\.example (?:does not take this user name and password|answered 401)/
const NONE_GIVEN = /no basic auth credentials/
const STATUS = /401 Unauthorized/

const here = jail()
let story: Story<FixtureImage> | undefined
let node: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.beginSmall(here, HTPASSWD, RIGHT)
  node = await story.node('a', { login: true, args: ['--registry', `${REGISTRY}=${story.upstream.url}`] })
})

afterAll(() => story?.end())

/** What `beforeAll` has set up; ends the test where that was not possible. */
function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story || !node) throw new Error('the registry or the node did not start')
  context.onTestFailed(() => story?.showLogs())
  const { repository, tag, digest } = story.images
  const path = `${REGISTRY}/${repository}:${tag}`
  /** The image by its registry, and where the mirror is named in its place. */
  const names = { own: path, login: `${node.login}/${path}`, ordinary: `${node.address}/${path}` }
  return { story, node, names, digest }
}

const colon = ({ username, password }: typeof RIGHT) => `${username}:${password}`
const flags = ({ username, password }: typeof RIGHT) => ['--username', username, '--password', password]

/** Makes the address that asks for a login the mirror of the registry, for podman and skopeo. */
function mirrorsConf(folder: string, login: string): Promise<void> {
  const mirror = `[[registry.mirror]]\nlocation = "${login}/${REGISTRY}"\ninsecure = true\n`
  return writeFile(join(folder, 'registries.conf'), `[[registry]]\nlocation = "${REGISTRY}"\n${mirror}`)
}

test('skopeo', async (context) => {
  const { story, node, names, digest } = stage(context)
  await story.at(node, async (environment) => {
    const { folder } = environment
    const skopeo = await configure('skopeo', environment)
    await mirrorsConf(folder, node.login)
    const global = ['--policy', join(folder, 'policy.json'), '--registries-conf', join(folder, 'registries.conf')]
    const inspect = (name: string, ...more: string[]) =>
      skopeo(...global, 'inspect', '--raw', '--tls-verify=false', ...more, `docker://${name}`)
    const copy = async (name: string, ...more: string[]) => {
      const to = join(folder, 'copy')
      await mkdir(to, { recursive: true })
      await skopeo(
        ...global,
        'copy',
        '--all',
        '--quiet',
        '--src-tls-verify=false',
        ...more,
        `docker://${name}`,
        `dir:${to}`,
      )
      return sha256(await readFile(join(to, 'manifest.json')))
    }
    const login = (to: string, as: typeof RIGHT) => skopeo(...global, 'login', '--tls-verify=false', ...flags(as), to)

    expect(await copy(names.login, '--src-creds', colon(RIGHT))).toBe(digest)
    await expect(copy(names.login, '--src-creds', colon(WRONG))).rejects.toThrow(UNKNOWN)
    await expect(copy(names.login)).rejects.toThrow(ASKED)
    expect(sha256(Buffer.from(await inspect(names.login, '--creds', colon(RIGHT))))).toBe(digest)
    await expect(inspect(names.login, '--creds', colon(WRONG))).rejects.toThrow(UNKNOWN)
    await expect(inspect(names.login)).rejects.toThrow(ASKED)
    // Elsewhere nothing asks for credentials, and so none are sent.
    await expect(copy(names.ordinary, '--src-creds', colon(RIGHT))).rejects.toThrow(/layerd has none for it/)

    // What is given for a registry is not sent to its mirror, which needs a login of its own: for all, or for one registry.
    await expect(copy(names.own, '--src-creds', colon(RIGHT))).rejects.toThrow(ASKED)
    await login(node.login, WRONG) // succeeds: no registry is named
    await expect(copy(names.own)).rejects.toThrow(UNKNOWN)
    await login(node.login, RIGHT)
    expect(await copy(names.own)).toBe(digest)
    await skopeo(...global, 'logout', node.login)
    await login(`${node.login}/${REGISTRY}`, RIGHT)
    expect(await copy(names.own)).toBe(digest)
    await expect(copy(names.login.replace(REGISTRY, 'docker.io'))).rejects.toThrow(ASKED)
  })
})

test('podman', async (context) => {
  const { story, node, names, digest } = stage(context)
  await story.at(node, async (environment) => {
    const podman = await configure('podman', environment)
    await mirrorsConf(environment.folder, node.login)
    const pull = async (name: string, ...more: string[]) => {
      await podman('pull', '--quiet', '--tls-verify=false', ...more, name)
      const digests = await podman('image', 'inspect', '--format', '{{json .RepoDigests}}', name)
      await podman('rmi', '--all', '--force')
      return digests
    }
    const login = (as: typeof RIGHT) => podman('login', '--tls-verify=false', ...flags(as), node.login)

    await expect(pull(names.login)).rejects.toThrow(ASKED)
    await expect(pull(names.login, '--creds', colon(WRONG))).rejects.toThrow(UNKNOWN)
    expect(await pull(names.login, '--creds', colon(RIGHT))).toContain(digest)
    await expect(pull(names.ordinary, '--creds', colon(RIGHT))).rejects.toThrow(/layerd has none for it/)
    await expect(pull(names.own, '--creds', colon(RIGHT))).rejects.toThrow(ASKED)
    await login(WRONG)
    await expect(pull(names.login)).rejects.toThrow(UNKNOWN)
    await login(RIGHT)
    expect(await pull(names.login)).toContain(digest)
    expect(await pull(names.own)).toContain(digest)
  })
})

const engines: [DockerGeneration, ImageStore, wrong: RegExp][] = [
  ['20.10', 'graph driver', UNKNOWN],
  ['28', 'graph driver', UNKNOWN],
  ['28', 'containerd store', STATUS],
]

for (const [generation, store, wrong] of engines)
  test(`Docker ${generation}, ${store}`, async (context) => {
    const { story, node, names, digest } = stage(context)
    await story.at(node, async (environment) => {
      const { call, daemon } = await startDocker(generation, store, environment)
      const login = (as: typeof RIGHT, to = node.login) => call('login', ...flags(as), to)
      try {
        await expect(call('pull', '--quiet', names.login)).rejects.toThrow(NONE_GIVEN)
        expect(await login(WRONG)).toContain('Succeeded')
        await expect(call('pull', '--quiet', names.login)).rejects.toThrow(wrong)
        await login(RIGHT)
        await call('pull', '--quiet', names.login)
        expect(await call('image', 'inspect', '--format', '{{json .RepoDigests}}', names.login)).toContain(digest)
        await login(RIGHT, node.address)
        const elsewhere = call('pull', '--quiet', names.ordinary)
        // The containerd store answers the challenge of the registry, whoever passes it on.
        if (store === 'containerd store') await elsewhere
        else await expect(elsewhere).rejects.toThrow(/layerd has none for it/)
      } finally {
        await daemon.stop()
      }
    })
  })

const generations: [Generation, none: RegExp][] = [
  ['1.6', STATUS],
  ['2', NONE_GIVEN],
]

for (const [generation, none] of generations)
  test(`containerd ${generation}, at either address`, async (context) => {
    const { story, node, names, digest } = stage(context)
    for (const address of [node.login, node.address]) {
      await story.at(node, async (environment) => {
        const containerd = await startContainerd(generation, environment)
        const cri = new CriClient(containerd.socket, environment)
        const hosts = join(containerd.hosts, REGISTRY)
        await mkdir(hosts)
        const host = `[host."http://${address}"]\n  capabilities = ["pull", "resolve"]\n`
        await writeFile(join(hosts, 'hosts.toml'), `server = "https://${REGISTRY}"\n${host}`)
        const ctr = (...args: string[]) => run(containerd.ctr, ['--address', containerd.socket, ...args])
        const pull = (...more: string[]) => ctr('images', 'pull', '--hosts-dir', containerd.hosts, ...more, names.own)
        try {
          await expect(pull()).rejects.toThrow(none)
          await expect(pull('--user', colon(WRONG))).rejects.toThrow(STATUS)
          await pull('--user', colon(RIGHT))
          expect(await ctr('images', 'list', `name==${names.own}`)).toContain(digest)
          await expect(cri.pull(names.own)).rejects.toThrow(/authorization failed|401/)
          await expect(cri.pull(names.own, WRONG)).rejects.toThrow(/401/)
          expect(await cri.pull(names.own, RIGHT)).toContain(digest)
        } finally {
          cri.close()
          await containerd.daemon.stop()
        }
      })
    }
  })

test('the node fetched the image once, and its cache opens to the right password also while the registry is off', async (context) => {
  const { story, node, names, digest } = stage(context)
  const { upstream } = await node.fetched()
  expect(upstream).toBeGreaterThan(0)
  expect(upstream).toBeLessThanOrEqual(story.images.size)
  await story.upstream.off()
  await story.at(node, async (environment) => {
    const skopeo = await configure('skopeo', environment)
    const inspect = (as: typeof RIGHT) =>
      skopeo('inspect', '--raw', '--tls-verify=false', '--creds', colon(as), `docker://${names.login}`)
    expect(sha256(Buffer.from(await inspect(RIGHT)))).toBe(digest)
    await expect(inspect(WRONG)).rejects.toThrow(/503 Service Unavailable/)
  })
})
