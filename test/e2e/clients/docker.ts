import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Daemon, run } from '../exec.ts'
import { type Client, type ClientEnvironment, PRINT_MARKS, pathWith } from './client.ts'

export type DockerGeneration = '20.10' | '28'

/** Docker keeps images in its own store on a graph driver, or in containerd's. */
export type ImageStore = 'graph driver' | 'containerd store'

/** Docker Engine with layerd as registry mirror. */
export function docker(generation: DockerGeneration, store: ImageStore): Client {
  return {
    name: `Docker ${generation}, ${store}`,
    zstd: generation !== '20.10',
    whole: false,
    async start(environment) {
      const { call, daemon } = await startDocker(generation, store, environment)
      return {
        async pull({ repository, tag }) {
          const name = `${repository.replace('library/', '')}:${tag}`
          await call('pull', '--quiet', name)
          const digests = JSON.parse(await call('image', 'inspect', '--format', '{{json .RepoDigests}}', name))
          return digests.map((it: string) => it.slice(it.indexOf('@') + 1))
        },
        run: ({ repository, tag }) => call('run', '--rm', '--network', 'none', `${repository}:${tag}`, ...PRINT_MARKS),
        stop: () => daemon.stop(),
      }
    },
  }
}

/** Starts a daemon; `call` runs the command line client, which keeps its logins in the environment's folder. */
export async function startDocker(
  generation: DockerGeneration,
  store: ImageStore,
  { tools, folder, mirror, cgroup }: ClientEnvironment,
): Promise<{ call: (...args: string[]) => Promise<string>; daemon: Daemon }> {
  const root = generation === '20.10' ? tools.bookworm : tools.forky
  const env = { ...process.env, PATH: pathWith(tools, root), HOME: folder, DOCKER_CONFIG: join(folder, 'cli') }
  const socket = `unix://${folder}/docker.sock`
  const config = join(folder, 'daemon.json')
  const snapshotter = store === 'containerd store'
  // 20.10 knows no such feature and would stop at it.
  const features = generation === '20.10' ? {} : { features: { 'containerd-snapshotter': snapshotter } }
  await writeFile(config, JSON.stringify(features))
  const flags = [
    ...['--config-file', config, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
    ...['--pidfile', join(folder, 'pid'), '--host', socket, '--group', 'root'],
    ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', cgroup],
    ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false', '--bridge=none'],
    ...(snapshotter ? [] : ['--storage-driver', 'overlay2']),
    ...['--registry-mirror', `http://${mirror}`],
  ]
  const program = join(root, 'usr/sbin/dockerd')
  const daemon = new Daemon('dockerd', join(folder, 'log'), program, flags, { env })
  const call = (...args: string[]) => run(join(root, 'usr/bin/docker'), ['--host', socket, ...args], { env })
  await daemon.ready(() => call('version'))
  return { call, daemon }
}
