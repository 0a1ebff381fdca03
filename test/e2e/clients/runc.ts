import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import type { FixtureImage } from '../../fixtures/images/images.ts'
import type { Descriptor } from '../../fixtures/images/layout.ts'
import { run } from '../exec.ts'
import { type ClientEnvironment, PRINT_MARKS } from './client.ts'

/**
 * Runs an image that a client has put into plain files: unpacks its layers and gives them to runc.
 *
 * @param read gives the bytes of one of the image's manifests or blobs.
 * @returns what the container printed.
 */
export async function runBundle(
  { tools, folder, cgroup }: ClientEnvironment,
  image: FixtureImage,
  read: (digest: string) => Promise<Buffer>,
): Promise<string> {
  const bundle = join(folder, 'bundle')
  const rootfs = join(bundle, 'rootfs')
  await mkdir(rootfs, { recursive: true })
  const manifest = JSON.parse((await read(image.platformDigest)).toString())
  for (const layer of manifest.layers as Descriptor[]) {
    const blob = await read(layer.digest)
    const archive = layer.mediaType.endsWith('zstd') ? zstdDecompressSync(blob) : gunzipSync(blob)
    await run('tar', ['-x', '-C', rootfs], { input: archive })
  }
  const runc = join(tools.bookworm, 'usr/sbin/runc')
  await run(runc, ['spec', '--bundle', bundle])
  const spec = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8'))
  Object.assign(spec.process, { terminal: false, args: PRINT_MARKS })
  spec.linux.cgroupsPath = `${cgroup}/runc`
  await writeFile(join(bundle, 'config.json'), JSON.stringify(spec))
  const name = image.repository.replace('/', '-')
  const output = await run(runc, ['--root', join(folder, 'runc'), 'run', '--bundle', bundle, name])
  await rm(bundle, { recursive: true })
  return output
}
