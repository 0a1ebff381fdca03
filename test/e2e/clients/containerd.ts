import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Daemon, run } from '../exec.ts'
import { type Client, type ClientEnvironment, PRINT_MARKS, pathWith, reference } from './client.ts'
import { CriClient } from './cri.ts'

export type Generation = '1.6' | '2'

/** containerd, pulled into by `ctr` with a hosts.toml. Containerd 2 pulls every platform of an index. */
export function ctr(generation: Generation): Client {
  return {
    name: `containerd ${generation}, ctr`,
    zstd: true,
    whole: generation === '2',
    async start(environment) {
      const containerd = await startContainerd(generation, environment)
      const call = (...args: string[]) => run(containerd.ctr, ['--address', containerd.socket, ...args])
      const platforms = generation === '2' ? ['--all-platforms'] : []
      return {
        async pull(image) {
          await call('images', 'pull', '--hosts-dir', containerd.hosts, ...platforms, reference(image))
          const [, line = ''] = (await call('images', 'list', `name==${reference(image)}`)).split('\n')
          const top = line.split(/\s+/).filter((field) => field.startsWith('sha256:'))
          return [...top, ...(await call('content', 'list', '--quiet')).split('\n')]
        },
        run: (image) => {
          const cgroup = ['--cgroup', `${environment.cgroup}/ctr`]
          return call('run', '--rm', ...cgroup, reference(image), image.repository.replace('/', '-'), ...PRINT_MARKS)
        },
        stop: () => containerd.daemon.stop(),
      }
    },
  }
}

/** containerd, asked over the Container Runtime Interface, as a Kubernetes node's kubelet does. */
export function kubelet(generation: Generation): Client {
  return {
    name: `containerd ${generation}, kubelet's way`,
    zstd: true,
    whole: false,
    async start(environment) {
      const containerd = await startContainerd(generation, environment)
      const cri = new CriClient(containerd.socket, environment)
      return {
        pull: (image) => cri.pull(reference(image)),
        run: (image) => cri.runInPod(reference(image), PRINT_MARKS),
        async stop() {
          cri.close()
          await containerd.daemon.stop()
        },
      }
    },
  }
}

interface Containerd {
  daemon: Daemon
  socket: string
  ctr: string
  /** Folder with a hosts.toml for docker.io. */
  hosts: string
}

export async function startContainerd(generation: Generation, environment: ClientEnvironment): Promise<Containerd> {
  const { tools, folder, mirror } = environment
  const root = generation === '1.6' ? tools.bookworm : tools.forky
  const hosts = join(folder, 'certs.d')
  await mkdir(join(hosts, 'docker.io'), { recursive: true })
  const host = `[host."http://${mirror}"]\n  capabilities = ["pull", "resolve"]\n`
  await writeFile(join(hosts, 'docker.io/hosts.toml'), `server = "https://registry-1.docker.io"\n${host}`)
  const config = join(folder, 'config.toml')
  const socket = join(folder, 'containerd.sock')
  await writeFile(config, common(folder, socket, generation) + (generation === '1.6' ? cri16(hosts) : cri2(hosts)))
  const env = { ...process.env, PATH: pathWith(tools, root) }
  const program = join(root, 'usr/bin/containerd')
  const daemon = new Daemon('containerd', join(folder, 'log'), program, ['--config', config], { env })
  const client = join(root, 'usr/bin/ctr')
  await daemon.ready(() => run(client, ['--address', socket, 'version']))
  return { daemon, socket, ctr: client, hosts }
}

function common(folder: string, socket: string, generation: Generation): string {
  return `
version = ${generation === '1.6' ? 2 : 3}
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
`
}

// The jail may not lower a process's OOM score below its own.
function cri16(hosts: string): string {
  return `
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "${hosts}"
`
}

function cri2(hosts: string): string {
  return `
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "${hosts}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "docker.io/library/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
`
}
