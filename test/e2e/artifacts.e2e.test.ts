import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildSignedImage, type FixtureImage, type Fixtures } from '../fixtures/images/images.ts'
import { sha256 } from '../fixtures/images/layers.ts'
import { artifactDigest, artifactFile, referrersOf } from './clients/artifacts.ts'
import { configure } from './clients/containers.ts'
import { crane } from './clients/registry-tools.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// What refers to an image goes where the image goes: from a registry to node A, from there to B, and from B to C when A is gone as well.

const here = jail()
let story: Story<FixtureImage & Pick<Fixtures, 'attached'>> | undefined

beforeAll(async () => {
  if (here) story = await Story.beginWith(here, buildSignedImage)
})

afterAll(() => story?.end())

test('an SBOM and a signature follow an image across three nodes, and are found offline', async (context) => {
  if (!here) leaveOut(context)
  if (!story) throw new Error('the registry did not start')
  context.onTestFailed(() => story?.showLogs())
  const image = story.images
  const { sbom, signature } = image.attached
  /** oras lists what refers to the image and fetches it, crane pulls the image, skopeo the signature by the tag that cosign gives it. */
  const finds = async (node: LayerdNode) => {
    await story?.at(node, async (environment) => {
      expect(await referrersOf(environment, image)).toEqual([sbom.digest])
      expect(await artifactDigest(environment, sbom)).toBe(sbom.digest)
      expect(await artifactFile(environment, sbom, 'sbom.spdx.json')).toContain('SPDX-2.3')
      const session = await crane.start(environment)
      expect(await session.pull(image)).toContain(image.platformDigest)
      await session.stop()
      const skopeo = await configure('skopeo', environment)
      const folder = join(environment.folder, 'signature')
      await mkdir(folder)
      const policy = ['--policy', join(environment.folder, 'policy.json')]
      const registries = ['--registries-conf', join(environment.folder, 'registries.conf')]
      const from = `docker://docker.io/${signature.repository}:${signature.tag}`
      await skopeo(...policy, ...registries, 'copy', '--quiet', from, `dir:${folder}`)
      expect(sha256(await readFile(join(folder, 'manifest.json')))).toBe(signature.digest)
    })
  }
  const args = await story.closedSwarm()
  const a = await story.node('a', { args })
  await finds(a)
  await story.upstream.off()
  const b = await story.node('b', { seed: a, args })
  await finds(b)
  const c = await story.node('c', { seed: b, args })
  await a.stop()
  await finds(c)
  for (const node of [b, c]) expect((await node.fetched()).upstream).toBe(0)
})
