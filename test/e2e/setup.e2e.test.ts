import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import { configure } from './clients/containers.ts'
import { run } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import { Story } from './story.ts'

// `layerd setup` writes what the programs themselves then read.

const bin = join(import.meta.dirname, '../../daemon/cli/bin.ts')
const here = jail()
let story: Story | undefined

beforeAll(async () => {
  if (here) story = await Story.begin(here)
})

afterAll(() => story?.end())

function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story) throw new Error('the registry did not start')
  return { story, tools: here.tools, work: here.work }
}

/** Runs `layerd setup` on a machine's files below a folder. */
function setup(root: string, ...args: string[]): Promise<string> {
  return run(process.execPath, [bin, 'setup', ...args, '--root', root])
}

for (const suite of ['bookworm', 'forky'] as const) {
  test(`containerd of ${suite} reads hosts.toml by what setup writes into its default configuration`, async (context) => {
    const { tools, work } = stage(context)
    const root = join(work, `setup-${suite}`)
    const file = join(root, 'etc/containerd/config.toml')
    const containerd = join(tools[suite], 'usr/bin/containerd')
    await mkdir(dirname(file), { recursive: true })
    const before = await run(containerd, ['config', 'default'])
    await writeFile(file, before)
    await setup(root, 'containerd')
    const dump = await run(containerd, ['--config', file, 'config', 'dump'])
    expect(dump).toMatch(/registry'?"?\]\s+config_path = ['"]\/etc\/containerd\/certs\.d['"]/)
    await setup(root, 'containerd', '--undo')
    expect(await readFile(file, 'utf8')).toBe(before)
  })
}

test('Docker takes the daemon.json that setup writes', async (context) => {
  const { tools, work } = stage(context)
  const root = join(work, 'setup-docker')
  await mkdir(root)
  await setup(root, 'docker')
  const dockerd = join(tools.forky, 'usr/sbin/dockerd')
  await run(dockerd, ['--validate', '--userland-proxy=false', '--config-file', join(root, 'etc/docker/daemon.json')])
})

test('skopeo pulls by the mirror that setup writes, with no registry but the node in reach', async (context) => {
  const { story, work } = stage(context)
  context.onTestFailed(() => story.showLogs())
  const node = await story.node('setup')
  const root = join(work, 'setup-podman')
  await mkdir(root)
  await setup(root, 'podman', '--mirror', node.address, '--registry', 'docker.io')
  await story.at(node, async (environment) => {
    const call = await configure('skopeo', environment)
    const { folder } = environment
    const conf = join(root, 'etc/containers/registries.conf.d/99-layerd.conf')
    const { repository, tag } = story.images.schema2
    const image = `docker://docker.io/${repository}:${tag}`
    await call('--policy', join(folder, 'policy.json'), '--registries-conf', conf, 'copy', image, `dir:${folder}/copy`)
  })
})
