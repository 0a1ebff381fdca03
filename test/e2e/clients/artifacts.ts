import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attached, FixtureImage } from '../../fixtures/images/images.ts'
import { sha256 } from '../../fixtures/images/layers.ts'
import { run } from '../exec.ts'
import type { ClientEnvironment } from './client.ts'

// What hangs from an image rather than being one: SBOMs, signatures. oras is the client for these.

/** Fetches the manifest of an artifact by its tag and gives its digest. */
export async function artifactDigest(environment: ClientEnvironment, artifact: Attached): Promise<string> {
  const name = `${repositoryOf(environment, artifact)}:${artifact.tag}`
  return sha256(Buffer.from(await oras(environment, 'manifest', 'fetch', '--plain-http', name)))
}

/** Pulls an artifact by its tag and gives the content of the file in it. */
export async function artifactFile(environment: ClientEnvironment, artifact: Attached, file: string): Promise<string> {
  const name = `${repositoryOf(environment, artifact)}:${artifact.tag}`
  await oras(environment, 'pull', '--plain-http', '--output', environment.folder, name)
  return readFile(join(environment.folder, file), 'utf8')
}

/** The digests of what refers to the image's manifest for this machine, as the registry lists them. */
export async function referrersOf(environment: ClientEnvironment, image: FixtureImage): Promise<string[]> {
  const name = `${repositoryOf(environment, image)}@${image.platformDigest}`
  const answer = JSON.parse(await oras(environment, 'discover', '--plain-http', '--format', 'json', name))
  return (answer.referrers ?? answer.manifests ?? []).map(({ digest }: { digest: string }) => digest)
}

function repositoryOf({ mirror, prefix }: ClientEnvironment, { repository }: { repository: string }): string {
  return `${mirror}/${prefix}${repository}`
}

function oras({ tools, folder }: ClientEnvironment, ...args: string[]): Promise<string> {
  return run(join(tools.forky, 'usr/bin/oras'), args, { env: { ...process.env, HOME: folder } })
}
