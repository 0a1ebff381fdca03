import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { ownPlatform } from '../../proxy/oci/platform.ts'
import type { FixtureImage } from '../fixtures/images/images.ts'
import { type ClientEnvironment, PRINT_MARKS, reference } from './clients/client.ts'
import { type Generation, startContainerd } from './clients/containerd.ts'
import { configure } from './clients/containers.ts'
import { type DockerGeneration, type ImageStore, startDocker } from './clients/docker.ts'
import { run } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Images go from programs to layerd and back as archives, without a registry.

const BIN = join(import.meta.dirname, '../../daemon/cli/bin.ts')
const here = jail()
let story: Story<FixtureImage> | undefined
let node: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.beginSmall(here)
  node = await story.node('registry')
})

afterAll(() => story?.end())

const layerdAt =
  (dataDir: string) =>
  (...args: string[]) =>
    run(process.execPath, [BIN, ...args, '--data-dir', dataDir])

function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story || !node) throw new Error('the registry or the node did not start')
  context.onTestFailed(() => story?.showLogs())
  const { address, dataDir } = node
  const layerd = layerdAt(dataDir)
  const digestOf = async (repository: string, tag: string) =>
    (await fetch(`http://${address}/v2/localhost/${repository}/manifests/${tag}`, { method: 'HEAD' })).headers.get(
      'docker-content-digest',
    )
  return { story, node, layerd, digestOf, images: story.images }
}

const exportTo = async (
  environment: ClientEnvironment,
  layerd: (...args: string[]) => Promise<string>,
  name: string,
) => {
  const file = join(environment.folder, 'exported.tar')
  await layerd('export', name, file)
  return file
}

const skopeoOf = async (environment: ClientEnvironment) => {
  const call = await configure('skopeo', environment)
  return (...args: string[]) => call('--policy', join(environment.folder, 'policy.json'), ...args)
}

test('skopeo reads what was exported, and layerd what skopeo writes: all platforms, same digest', async (context) => {
  const { story, node, layerd, digestOf, images } = stage(context)
  await story.at(node, async (environment) => {
    const skopeo = await skopeoOf(environment)
    const file = await exportTo(environment, layerd, reference(images))
    const layout = join(environment.folder, 'layout')
    const copy = ['copy', '--quiet', '--all', '--preserve-digests']
    await skopeo(...copy, `oci-archive:${file}`, `oci:${layout}:1`)
    expect(await layerd('import', layout, '--name', 'by-skopeo')).toContain(`by-skopeo:1  ${images.digest}`)
    expect(await digestOf('by-skopeo', '1')).toBe(images.digest)
    const again = join(environment.folder, 'again.tar')
    await skopeo(...copy, `oci:${layout}`, `oci-archive:${again}:docker.io/team/again:2`)
    await layerd('import', again)
    expect(await digestOf('team/again', '2')).toBe(images.digest)
  })
})

test('podman loads what was exported; layerd imports what podman saves, in both forms', async (context) => {
  const { story, node, layerd, digestOf, images } = stage(context)
  await story.at(node, async (environment) => {
    const podman = await configure('podman', environment)
    const file = await exportTo(environment, layerd, reference(images))
    await podman('load', '--quiet', '--input', file)
    const flags = ['--rm', '--network', 'none', '--cgroup-parent', environment.cgroup]
    expect(await podman('run', ...flags, '--pull=never', reference(images), ...PRINT_MARKS)).toBe(images.marks)
    for (const format of ['docker-archive', 'oci-archive']) {
      const saved = join(environment.folder, `${format}.tar`)
      await podman('save', '--quiet', '--format', format, '--output', saved, reference(images))
      await layerd('import', saved, '--name', `by-podman/${format}:1`)
      expect(await digestOf(`by-podman/${format}`, '1')).toMatch(/^sha256:/)
      const name = `${node.address}/localhost/by-podman/${format}:1`
      await podman('pull', '--quiet', '--tls-verify=false', name)
      expect(await podman('run', ...flags, name, ...PRINT_MARKS)).toBe(images.marks)
    }
  })
})

test('buildah: a layout of one platform keeps its digest', async (context) => {
  const { story, node, layerd, digestOf, images } = stage(context)
  await story.at(node, async (environment) => {
    const buildah = await configure('buildah', environment)
    const file = await exportTo(environment, layerd, reference(images))
    await buildah('pull', '--quiet', `oci-archive:${file}`)
    const layout = join(environment.folder, 'built')
    await mkdir(layout)
    const container = (await buildah('from', '--quiet', '--pull-never', reference(images))).trim()
    await buildah('config', '--label', 'made=here', container)
    await buildah('commit', '--quiet', container, `oci:${layout}:built`)
    const skopeo = await skopeoOf(environment)
    const { Digest } = JSON.parse(await skopeo('inspect', `oci:${layout}:built`))
    await layerd('import', layout, '--name', 'by-buildah')
    expect(await digestOf('by-buildah', 'built')).toBe(Digest)
  })
})

const dockers: readonly (readonly [DockerGeneration, ImageStore])[] = [
  ['20.10', 'graph driver'],
  ['28', 'graph driver'],
  ['28', 'containerd store'],
]

describe.each(dockers)('Docker %s, %s', (generation, store) => {
  test('loads what was exported, and layerd imports what it saves', async (context) => {
    const { story, node, layerd, digestOf, images } = stage(context)
    await story.at(node, async (environment) => {
      const { call, daemon } = await startDocker(generation, store, environment)
      try {
        const file = await exportTo(environment, layerd, reference(images))
        await call('load', '--quiet', '--input', file)
        const runs = async (name: string) =>
          expect(await call('run', '--rm', '--network', 'none', name, ...PRINT_MARKS)).toBe(images.marks)
        await runs(reference(images))
        const saved = join(environment.folder, 'saved.tar')
        await call('save', '--output', saved, reference(images))
        await call('rmi', '--force', reference(images))
        const name = `by-docker-${generation.replace('.', '-')}-${store.slice(0, 5)}`
        await layerd('import', saved, '--name', `${name}:1`)
        if (store === 'containerd store') expect(await digestOf(name, '1')).toBe(images.digest)
        const from = `${node.address}/localhost/${name}:1`
        await call('pull', '--quiet', from)
        await runs(from)
      } finally {
        await daemon.stop()
      }
    })
  })
})

const generations: readonly Generation[] = ['1.6', '2']

describe.each(generations)('containerd %s', (generation) => {
  test('imports what was exported, and layerd what it exports', async (context) => {
    const { story, node, layerd, digestOf, images } = stage(context)
    await story.at(node, async (environment) => {
      const containerd = await startContainerd(generation, environment)
      try {
        const ctr = (...args: string[]) => run(containerd.ctr, ['--address', containerd.socket, ...args])
        const file = await exportTo(environment, layerd, reference(images))
        await ctr('images', 'import', '--all-platforms', file)
        expect(await ctr('images', 'ls')).toContain(images.digest)
        const cgroup = `${environment.cgroup}/ctr`
        expect(await ctr('run', '--rm', '--cgroup', cgroup, reference(images), 'imported', ...PRINT_MARKS)).toBe(
          images.marks,
        )
        const exported = join(environment.folder, 'by-ctr.tar')
        await ctr('images', 'export', '--all-platforms', exported, reference(images))
        const name = `by-ctr-${generation.replace('.', '-')}`
        await layerd('import', exported, '--name', `${name}:1`)
        expect(await digestOf(name, '1')).toBe(images.digest)
      } finally {
        await containerd.daemon.stop()
      }
    })
  })
})

test('an archive of the one platform that is here is read by all, with the digest of the whole', async (context) => {
  const { story, images } = stage(context)
  const part = await story.node('part')
  const layerd = layerdAt(part.dataDir)
  await layerd('pull', reference(images), '--platform', ownPlatform())
  await story.at(part, async (environment) => {
    const file = await exportTo(environment, layerd, reference(images))
    const skopeo = await skopeoOf(environment)
    await skopeo('copy', '--quiet', `oci-archive:${file}`, `oci:${join(environment.folder, 'layout')}:1`)
    const podman = await configure('podman', environment)
    await podman('load', '--quiet', '--input', file)
    const flags = ['--rm', '--network', 'none', '--cgroup-parent', environment.cgroup]
    expect(await podman('run', ...flags, '--pull=never', reference(images), ...PRINT_MARKS)).toBe(images.marks)
    const { call, daemon } = await startDocker('28', 'containerd store', environment)
    try {
      await call('load', '--quiet', '--input', file)
      expect(await call('run', '--rm', '--network', 'none', reference(images), ...PRINT_MARKS)).toBe(images.marks)
    } finally {
      await daemon.stop()
    }
  })
  await story.at(part, async (environment) => {
    const containerd = await startContainerd('2', environment)
    try {
      const ctr = (...args: string[]) => run(containerd.ctr, ['--address', containerd.socket, ...args])
      await ctr('images', 'import', await exportTo(environment, layerd, reference(images)))
      expect(await ctr('images', 'ls')).toContain(images.digest)
      const cgroup = `${environment.cgroup}/ctr`
      expect(await ctr('run', '--rm', '--cgroup', cgroup, reference(images), 'part', ...PRINT_MARKS)).toBe(images.marks)
    } finally {
      await containerd.daemon.stop()
    }
  })
})
