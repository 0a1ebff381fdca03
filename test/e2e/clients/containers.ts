import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../../fixtures/images/layers.ts'
import { run } from '../exec.ts'
import { type Client, type ClientEnvironment, PRINT_MARKS, pathWith, reference } from './client.ts'
import { runBundle } from './runc.ts'

/** podman with layerd as mirror in registries.conf. */
export const podman: Client = {
  name: 'podman',
  zstd: true,
  whole: false,
  async start(environment) {
    const call = await configure('podman', environment)
    const flags = ['--rm', '--network', 'none', '--cgroup-parent', environment.cgroup]
    return {
      async pull(image) {
        await call('pull', '--quiet', reference(image))
        const digests = JSON.parse(
          await call('image', 'inspect', '--format', '{{json .RepoDigests}}', reference(image)),
        )
        return digests.map((it: string) => it.slice(it.indexOf('@') + 1))
      },
      run: (image) => call('run', ...flags, reference(image), ...PRINT_MARKS),
      stop: async () => {},
    }
  },
}

/** buildah with the same configuration; its containers are made of the pulled image as a base. */
export const buildah: Client = {
  name: 'buildah',
  zstd: true,
  whole: false,
  async start(environment) {
    const call = await configure('buildah', environment)
    return {
      async pull(image) {
        await call('pull', '--quiet', reference(image))
        return (await call('images', '--no-trunc', '--format', '{{.Digest}}', reference(image))).trim().split('\n')
      },
      async run(image) {
        const container = (await call('from', '--quiet', '--pull-never', reference(image))).trim()
        const output = await call('run', '--isolation', 'oci', '--network', 'none', container, '--', ...PRINT_MARKS)
        await call('rm', container)
        return output
      },
      stop: async () => {},
    }
  },
}

/** skopeo: copies every platform of an image into a folder, from which runc then runs it. */
export const skopeo: Client = {
  name: 'skopeo copy --all',
  zstd: true,
  whole: true,
  async start(environment) {
    const call = await configure('skopeo', environment)
    const { folder } = environment
    // The form `dir` keeps manifests as they are, whereas an OCI layout would have Docker's rewritten.
    const target = (repository: string) => join(folder, 'copies', repository)
    const global = ['--policy', join(folder, 'policy.json'), '--registries-conf', join(folder, 'registries.conf')]
    return {
      async pull(image) {
        const to = target(image.repository)
        await mkdir(to, { recursive: true })
        await call(
          ...global,
          'copy',
          '--quiet',
          '--all',
          '--preserve-digests',
          `docker://${reference(image)}`,
          `dir:${to}`,
        )
        const top = await readFile(join(to, 'manifest.json'))
        const hex = (digest: string) => digest.replace('sha256:', '')
        // A manifest's file carries its digest in its name; each is read, so that a missing one is noticed.
        const files = image.contents.map((digest) =>
          readFile(join(to, `${hex(digest)}.manifest.json`)).catch(() => readFile(join(to, hex(digest)))),
        )
        return [sha256(top), ...(await Promise.all(files)).map(sha256)]
      },
      run: (image) => {
        const from = target(image.repository)
        const file = (digest: string) => digest.replace('sha256:', '')
        return runBundle(environment, image, (digest) =>
          readFile(join(from, digest === image.platformDigest ? `${file(digest)}.manifest.json` : file(digest))),
        )
      },
      stop: async () => {},
    }
  },
}

/** Writes the configuration that podman, buildah and skopeo share; gives the function that calls the program. */
export async function configure(program: string, { tools, folder, mirror, prefix }: ClientEnvironment) {
  const home = join(folder, 'home')
  for (const name of ['home/.config/containers', 'tmp', 'xdg']) await mkdir(join(folder, name), { recursive: true })
  const accept = JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] })
  await writeFile(join(home, '.config/containers/policy.json'), accept)
  await writeFile(join(folder, 'policy.json'), accept)
  const location = `${mirror}/${prefix}`.replace(/\/$/, '')
  await writeFile(
    join(folder, 'registries.conf'),
    `unqualified-search-registries = ["docker.io"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "${location}"
insecure = true
`,
  )
  const storage = `driver = "overlay"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/root"\n`
  await writeFile(join(folder, 'storage.conf'), `[storage]\n${storage}`)
  // The limits and sysctls that podman sets by default need more rights than a jail has.
  await writeFile(
    join(folder, 'containers.conf'),
    `[containers]
default_sysctls = []
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["${tools.bookworm}/usr/bin/conmon"]
tmp_dir = "${folder}/tmp"
volume_path = "${folder}/volumes"
[engine.runtimes]
runc = ["${tools.bookworm}/usr/sbin/runc"]
`,
  )
  const env = {
    ...process.env,
    PATH: pathWith(tools, tools.bookworm),
    HOME: home,
    TMPDIR: join(folder, 'tmp'),
    XDG_RUNTIME_DIR: join(folder, 'xdg'),
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
    CONTAINERS_REGISTRIES_CONF: join(folder, 'registries.conf'),
  }
  return (...args: string[]) => run(join(tools.bookworm, 'usr/bin', program), args, { env })
}
