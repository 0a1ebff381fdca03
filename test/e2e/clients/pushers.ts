import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FixtureImage } from '../../fixtures/images/images.ts'
import { run } from '../exec.ts'
import { type ClientEnvironment, PRINT_MARKS, reference } from './client.ts'
import { type Generation, startContainerd } from './containerd.ts'
import { configure } from './containers.ts'
import { type DockerGeneration, type ImageStore, startDocker } from './docker.ts'

/** A program that has an image of docker.io from its mirror, and pushes it under another name. */
export interface Pusher {
  name: string
  start(environment: ClientEnvironment): Promise<PushSession>
}

export interface PushSession {
  /** Has the image, and pushes it. @param to the new name, with the registry */
  push(image: FixtureImage, to: string): Promise<void>
  /** Pulls by the new name what nothing is left of, and gives what a container of it prints, or the digests of what came. */
  pull(image: FixtureImage, from: string): Promise<string>
  stop(): Promise<void>
}

function docker(generation: DockerGeneration, store: ImageStore): Pusher {
  return {
    name: `Docker ${generation}, ${store}`,
    async start(environment) {
      const { call, daemon } = await startDocker(generation, store, environment)
      const nameOf = ({ repository, tag }: FixtureImage) => `${repository.replace('library/', '')}:${tag}`
      return {
        async push(image, to) {
          await call('pull', '--quiet', nameOf(image))
          await call('tag', nameOf(image), to)
          await call('push', '--quiet', to)
          await call('rmi', to, nameOf(image))
        },
        async pull(_image, from) {
          await call('pull', '--quiet', from)
          return await call('run', '--rm', '--network', 'none', from, ...PRINT_MARKS)
        },
        stop: () => daemon.stop(),
      }
    },
  }
}

const podman: Pusher = {
  name: 'podman',
  async start(environment) {
    const call = await configure('podman', environment)
    const flags = ['--rm', '--network', 'none', '--cgroup-parent', environment.cgroup]
    return {
      async push(image, to) {
        await call('pull', '--quiet', reference(image))
        await call('push', '--quiet', '--tls-verify=false', reference(image), to)
        await call('rmi', '--all', '--force')
      },
      async pull(_image, from) {
        await call('pull', '--quiet', '--tls-verify=false', from)
        return await call('run', ...flags, from, ...PRINT_MARKS)
      },
      stop: async () => {},
    }
  },
}

function ctr(generation: Generation): Pusher {
  return {
    name: `containerd ${generation}, ctr`,
    async start(environment) {
      const containerd = await startContainerd(generation, environment)
      const call = (...args: string[]) => run(containerd.ctr, ['--address', containerd.socket, ...args])
      const pull = (...args: string[]) => call('images', 'pull', '--all-platforms', ...args)
      return {
        async push(image, to) {
          await pull('--hosts-dir', containerd.hosts, reference(image))
          await call('images', 'tag', reference(image), to)
          await call('images', 'push', '--plain-http', to)
          await call('images', 'rm', '--sync', to, reference(image))
        },
        async pull(image, from) {
          await pull('--plain-http', from)
          const name = `pushed-${image.repository.replace('/', '-')}`
          return await call('run', '--rm', '--cgroup', `${environment.cgroup}/ctr`, from, name, ...PRINT_MARKS)
        },
        stop: () => containerd.daemon.stop(),
      }
    },
  }
}

/** skopeo, oras and crane copy from one registry to another. What they pull is a folder, of which the top manifest is looked at. */
function copier(
  name: string,
  copy: (environment: ClientEnvironment, from: string, to: string) => Promise<unknown>,
): Pusher {
  return {
    name,
    async start(environment) {
      const { mirror, prefix, folder } = environment
      return {
        push: async ({ repository, tag }, to) =>
          void (await copy(environment, `${mirror}/${prefix}${repository}:${tag}`, to)),
        async pull({ marks }, from) {
          const call = await configure('skopeo', environment)
          const to = join(folder, 'pulled')
          await mkdir(to)
          const policy = ['--policy', join(folder, 'policy.json')]
          await call(
            ...policy,
            'copy',
            '--quiet',
            '--all',
            '--preserve-digests',
            '--src-tls-verify=false',
            `docker://${from}`,
            `dir:${to}`,
          )
          // Nothing is run: the manifest's digest has been checked, and its layers have theirs.
          return (await readFile(join(to, 'manifest.json'))).length > 0 ? marks : ''
        },
        stop: async () => {},
      }
    },
  }
}

const skopeo = copier('skopeo', async (environment, from, to) => {
  const call = await configure('skopeo', environment)
  const tls = ['--src-tls-verify=false', '--dest-tls-verify=false']
  const policy = ['--policy', join(environment.folder, 'policy.json')]
  await call(...policy, 'copy', '--quiet', '--all', '--preserve-digests', ...tls, `docker://${from}`, `docker://${to}`)
})

const oras = copier('oras', ({ tools, folder }, from, to) =>
  run(join(tools.forky, 'usr/bin/oras'), ['cp', '--from-plain-http', '--to-plain-http', from, to], {
    env: { ...process.env, HOME: folder },
  }),
)

const crane = copier('crane', ({ tools, folder }, from, to) =>
  run(join(tools.forky, 'usr/bin/crane'), ['copy', '--insecure', from, to], { env: { ...process.env, HOME: folder } }),
)

/** Every client that pushes. */
export const PUSHERS: readonly Pusher[] = [
  docker('20.10', 'graph driver'),
  docker('28', 'graph driver'),
  docker('28', 'containerd store'),
  podman,
  ctr('1.6'),
  ctr('2'),
  skopeo,
  oras,
  crane,
]
