import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FixtureImage } from '../../fixtures/images/images.ts'
import { sha256 } from '../../fixtures/images/layers.ts'
import { blobPath } from '../../fixtures/images/layout.ts'
import { run } from '../exec.ts'
import type { Client, ClientEnvironment } from './client.ts'
import { runBundle } from './runc.ts'

// Neither program has a setting for mirrors, so that they name layerd as the registry.

/** oras: copies an image with all its platforms into an OCI layout. */
export const oras: Client = intoLayout('oras', (environment, image, layout) => {
  const from = `${environment.mirror}/${environment.prefix}${image.repository}:${image.tag}`
  const args = ['cp', '--from-plain-http', '--to-oci-layout', from, `${layout}:${image.tag}`]
  return run(join(environment.tools.forky, 'usr/bin/oras'), args, { env: { ...process.env, HOME: environment.folder } })
})

/** crane: pulls an image with all its platforms into an OCI layout. */
export const crane: Client = intoLayout('crane', (environment, image, layout) => {
  const from = `${environment.mirror}/${environment.prefix}${image.repository}:${image.tag}`
  const args = ['pull', '--insecure', '--format', 'oci', from, layout]
  return run(join(environment.tools.forky, 'usr/bin/crane'), args, {
    env: { ...process.env, HOME: environment.folder },
  })
})

type Pull = (environment: ClientEnvironment, image: FixtureImage, layout: string) => Promise<string>

function intoLayout(name: string, pull: Pull): Client {
  return {
    name,
    zstd: true,
    whole: true,
    async start(environment) {
      const layoutOf = (image: FixtureImage) => join(environment.folder, image.repository.replace('/', '-'))
      return {
        async pull(image) {
          await pull(environment, image, layoutOf(image))
          const all = [image.digest, ...image.contents].map((digest) => readFile(blobPath(layoutOf(image), digest)))
          return (await Promise.all(all)).map(sha256)
        },
        run: (image) => runBundle(environment, image, (digest) => readFile(blobPath(layoutOf(image), digest))),
        stop: async () => {},
      }
    },
  }
}
