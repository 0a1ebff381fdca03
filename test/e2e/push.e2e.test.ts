import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import type { FixtureImage } from '../fixtures/images/images.ts'
import { PUSHERS } from './clients/pushers.ts'
import { run } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Clients have an image through the mirror, push it to `localhost`, and pull it back when nothing else has it.

const here = jail()
let story: Story<FixtureImage> | undefined
let node: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.beginSmall(here)
  node = await story.node('registry')
})

afterAll(() => story?.end())

function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story || !node) throw new Error('the registry or the node did not start')
  context.onTestFailed(() => story?.showLogs())
  const address = node.address.replace('127.0.0.1', 'localhost')
  /** Digest and media type of a tag, as the node has it. */
  const head = async (repository: string, tag: string) => {
    const { status, headers } = await fetch(`http://${address}/v2/${repository}/manifests/${tag}`, { method: 'HEAD' })
    return { status, digest: headers.get('docker-content-digest') }
  }
  return { story, node, address, head, tools: here.tools }
}

const nameOf = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
/** They keep the digest of the whole image; the others push what they have of it for this machine. */
const whole = /skopeo|oras|crane|ctr/

describe('pushes to localhost, and pulls back', () => {
  for (const pusher of PUSHERS) {
    test(pusher.name, async (context) => {
      const { story, node, address, head } = stage(context)
      const repository = `team/${nameOf(pusher.name)}`
      await story.at(node, async (environment) => {
        const session = await pusher.start(environment)
        try {
          await session.push(story.images, `${address}/${repository}:1`)
          const { status, digest } = await head(repository, '1')
          expect(status).toBe(200)
          if (whole.test(pusher.name)) expect(digest).toBe(story.images.digest)
          expect(await session.pull(story.images, `${address}/${repository}:1`)).toBe(story.images.marks)
        } finally {
          await session.stop()
        }
      })
    })
  }
})

describe('pushes what the mirror gave under its own bare name, which it has cached', () => {
  for (const pusher of PUSHERS) {
    test(pusher.name, async (context) => {
      const { story, node, address, head } = stage(context)
      const name = story.images.repository.replace('library/', '')
      await story.at(node, async (environment) => {
        const session = await pusher.start(environment)
        try {
          await session.push(story.images, `${address}/${name}:1`)
          const { status, digest } = await head(name, '1')
          expect(status).toBe(200)
          if (whole.test(pusher.name)) expect(digest).toBe(story.images.digest)
          expect(await session.pull(story.images, `${address}/${name}:1`)).toBe(story.images.marks)
        } finally {
          await session.stop()
          await forget(`http://${address}/v2/${name}`, '1')
        }
      })
    })
  }
})

/** Deletes a manifest, and all that it names, so that the next client finds nothing of it. @param base of the repository */
async function forget(base: string, reference: string): Promise<void> {
  const got = await fetch(`${base}/manifests/${reference}`)
  if (!got.ok) return
  const {
    manifests = [],
    config,
    layers = [],
  } = (await got.json()) as Record<'manifests' | 'layers', Named[]> & {
    config?: Named
  }
  for (const { digest } of manifests) await forget(base, digest)
  for (const { digest } of [...layers, ...(config ? [config] : [])])
    await fetch(`${base}/blobs/${digest}`, { method: 'DELETE' })
  await fetch(`${base}/manifests/${got.headers.get('docker-content-digest')}`, { method: 'DELETE' })
}

interface Named {
  readonly digest: string
}

test('oras attaches an SBOM, and finds it; crane lists and deletes', async (context) => {
  const { story, node, address, head, tools } = stage(context)
  await story.at(node, async ({ folder }) => {
    const env = { ...process.env, HOME: folder }
    const call =
      (program: string) =>
      (...args: string[]) =>
        run(join(tools.forky, 'usr/bin', program), args, { env, cwd: folder })
    const [oras, crane] = [call('oras'), call('crane')]
    const name = `${address}/team/attached`
    const { repository, tag, digest } = story.images
    await oras(
      'cp',
      '--from-plain-http',
      '--to-plain-http',
      `${node.address}/docker.io/${repository}:${tag}`,
      `${name}:1`,
    )
    await writeFile(join(folder, 'sbom.json'), '{"spdxVersion":"SPDX-2.3"}')
    const sbom = ['--artifact-type', 'application/spdx+json', `${name}:1`, 'sbom.json:application/spdx+json']
    await oras('attach', '--plain-http', ...sbom)
    const found = JSON.parse(await oras('discover', '--plain-http', '--format', 'json', `${name}@${digest}`))
    const [referrer] = found.referrers ?? found.manifests
    expect(referrer.artifactType).toBe('application/spdx+json')
    await oras('pull', '--plain-http', '--output', join(folder, 'out'), `${name}@${referrer.digest}`)
    expect((await crane('ls', '--insecure', name)).trim().split('\n')).toEqual(['1'])
    expect((await crane('catalog', '--insecure', address)).split('\n')).toContain('team/attached')
    await crane('delete', '--insecure', `${name}:1`)
    expect((await head('team/attached', '1')).status).toBe(404)
  })
})

test('nobody was asked for what is local', async (context) => {
  const { node } = stage(context)
  // Upstream gave the image once, for the mirror.
  expect(await node.fetched()).toMatchObject({ peer: 0 })
  expect(await node.log()).not.toContain('"repository":"docker.io/team/')
})
