import type { Digest } from '../../proxy/oci/digest.ts'
import { type Repository, repositoryText } from '../../proxy/oci/name.ts'
import { parseReference } from '../../proxy/oci/reference.ts'
import type { TagResolver } from '../../proxy/ports.ts'
import { type Names, parseRepository } from '../../proxy/routes/addressing.ts'

/** An image that somebody means. */
export interface ImageName {
  readonly repository: Repository
  readonly isLocal: boolean
  /** Undefined where a digest is given. */
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

interface ImageNamesOptions {
  readonly names: Names
  readonly tags: TagResolver
  /** The port of this node's registry, which is a name of it: `localhost:5050/app`. */
  readonly port: () => number | undefined
}

/** Names of images, as clients of this node use them. */
export class ImageNames {
  readonly #options: ImageNamesOptions

  constructor(options: ImageNamesOptions) {
    this.#options = options
  }

  /** Reads a name; without tag and digest it is `latest`. @throws {OciError} where it is none, or of a registry that is not known */
  parse(text: string): ImageName {
    const { registry, name, tag, digest } = parseReference(text)
    const path = registry === undefined ? name : `${registry}/${name}`
    const { repository, isLocal } = parseRepository({ path, port: this.#options.port() }, this.#options.names)
    return { repository, isLocal, tag: digest === undefined ? (tag ?? 'latest') : tag, digest }
  }

  /** The digest of an image, as its registry says it. @throws {OciError} */
  async resolve({ repository, tag, digest }: ImageName, signal: AbortSignal): Promise<Digest> {
    if (digest !== undefined || tag === undefined) return digest as Digest
    return (await this.#options.tags.resolve({ repository, tag, signal })).digest
  }
}

/** The whole name, such as `docker.io/library/alpine:3.20`. */
export function nameText({ repository, tag, digest }: ImageName): string {
  return `${repositoryText(repository)}${digest === undefined ? `:${tag}` : `@${digest}`}`
}
