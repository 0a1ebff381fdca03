import type { Digest } from '../../proxy/oci/digest.ts'
import type { ManifestContents, NamedContent } from '../../proxy/oci/image-blobs.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { Identity } from './access.ts'

/** Visits that are followed; beyond it, the oldest in which nothing was asked for but manifests is forgotten, or the oldest of all. */
const MAX_VISITS = 64

/** Images of one index that are followed in one visit. Indexes have some twenty. */
const MAX_IMAGES = 64

/** Blobs of all images of a visit; an image with more is not followed. Memory is bounded by it. */
const MAX_PARTS = 8_192

/** Manifests whose index is remembered; the one that was seen longest ago is forgotten. */
const MAX_INDEXED = 4_096

/**
 * What one client gets in one go: an image, or images of one index.
 *
 * That it is pulled, rather than looked at, shows in a request for one of its layers. A client that has all layers already asks for
 * none: then it has to be a container engine, to get one image only of the index, and to ask for its config, or this node has to hold
 * something of the image already. Engines look at manifests as well, and that is all they ask for then.
 */
export class Visit {
  /** `registry/repository`. */
  readonly repository: string
  /** The client's last request: in its name the rest is fetched. */
  request: ContentRequest
  /** Nothing is fetched before this time, in ms. */
  restsUntil = 0
  failures = 0
  /** Bytes that were fetched beside those that the client has asked for. */
  fetchedBytes = 0
  #touchedAt: number
  /** Contents that the client is being given. */
  #open = 0
  #hasAskedForLayer = false
  #hasAskedForPart = false
  /** Whether this node holds any of it; undefined where that was not looked at. */
  #isPartHeld: boolean | undefined
  #isEngine = false
  readonly #images = new Map<Digest, readonly NamedContent[]>()
  readonly #parts = new Set<Digest>()
  readonly #layers = new Set<Digest>()

  constructor(request: ContentRequest, now: number) {
    this.request = request
    this.repository = repositoryText(request.repository)
    this.#touchedAt = now
  }

  isPulled(isHeld: (digest: Digest) => boolean): boolean {
    if (this.#hasAskedForLayer) return true
    if (!this.#isEngine || this.#images.size !== 1) return false
    if (this.#hasAskedForPart) return true
    // Looked at once for each request: an image may have thousands of layers.
    this.#isPartHeld ??= this.#parts.values().some(isHeld)
    return this.#isPartHeld
  }

  /** Whether the client has asked for anything that the images consist of. */
  get hasAskedForPart(): boolean {
    return this.#hasAskedForPart
  }

  /** Digests of the manifests. */
  get images(): readonly Digest[] {
    return [...this.#images.keys()]
  }

  /** How long the client has asked for nothing, in ms; 0 while it is given something. */
  idleFor(now: number): number {
    return this.#open > 0 ? 0 : now - this.#touchedAt
  }

  /** The client gets a manifest of these contents. */
  add(manifest: Digest, { config, layers }: ManifestContents): void {
    const parts = [...config, ...layers]
    if (this.#images.size >= MAX_IMAGES || this.#parts.size + parts.length > MAX_PARTS) return
    this.#images.set(manifest, parts)
    for (const { digest } of parts) this.#parts.add(digest)
    for (const { digest } of layers) this.#layers.add(digest)
  }

  has(digest: Digest): boolean {
    return this.#parts.has(digest)
  }

  /** The client is given content. @param now in ms @returns to be called with the time when that is over */
  opens(request: ContentRequest, now: number): (now: number) => void {
    this.request = request
    const { kind, digest, isEngine = false } = request
    this.#hasAskedForLayer ||= kind === 'blob' && this.#layers.has(digest)
    this.#hasAskedForPart ||= kind === 'blob' && this.#parts.has(digest)
    // What the node asks for in its client's name does not make another one of it.
    this.#isEngine ||= isEngine
    this.#isPartHeld = undefined
    this.#touchedAt = now
    this.#open++
    return (later) => {
      this.#open--
      this.#touchedAt = later
    }
  }

  /** What of all its images is not held, each once. */
  missing(isHeld: (digest: Digest) => boolean): readonly NamedContent[] {
    const missing = new Map<Digest, NamedContent>()
    for (const parts of this.#images.values()) {
      for (const part of parts) if (!isHeld(part.digest)) missing.set(part.digest, part)
    }
    return [...missing.values()]
  }
}

/** Visits of clients, by who they are, the repository, and the index or the image that they begin with. */
export class Visits {
  readonly #identityOf: (request: ContentRequest) => Identity
  readonly #visits = new Map<string, Visit>()
  /** The index that names a manifest. */
  readonly #indexes = new Map<Digest, Digest>()

  constructor(identityOf: (request: ContentRequest) => Identity) {
    this.#identityOf = identityOf
  }

  get size(): number {
    return this.#visits.size
  }

  all(): readonly Visit[] {
    return [...this.#visits.values()]
  }

  /** A client gets a manifest. @param now in ms */
  passes(request: ContentRequest, contents: ManifestContents, now: number): void {
    const { digest } = request
    for (const manifest of contents.manifests) this.#noteIndex(manifest.digest, digest)
    if (contents.config.length + contents.layers.length === 0) return
    const key = `${this.#asker(request)} ${this.#indexes.get(digest) ?? digest}`
    const visit = this.#visits.get(key) ?? new Visit(request, now)
    visit.add(digest, contents)
    visit.opens(request, now)(now)
    this.#visits.delete(key)
    this.#visits.set(key, visit)
    if (this.#visits.size > MAX_VISITS) this.#forgetOne(key)
  }

  /** Whoever inspects many images may not push out a pull whose layers are still coming. @param but the visit that has just come */
  #forgetOne(but: string): void {
    const others = [...this.#visits].filter(([key]) => key !== but)
    const [key] = others.find(([, visit]) => !visit.hasAskedForPart) ?? others[0] ?? []
    if (key !== undefined) this.#visits.delete(key)
  }

  /** The visits that a client's request for content belongs to. */
  of(request: ContentRequest): readonly Visit[] {
    if (this.#visits.size === 0) return []
    const asker = `${this.#asker(request)} `
    const mine = [...this.#visits].filter(([key, visit]) => visit.has(request.digest) && key.startsWith(asker))
    return mine.map(([, visit]) => visit)
  }

  end(visit: Visit): void {
    for (const [key, one] of this.#visits) if (one === visit) this.#visits.delete(key)
  }

  #asker(request: ContentRequest): string {
    return `${this.#identityOf(request)} ${repositoryText(request.repository)}`
  }

  #noteIndex(manifest: Digest, index: Digest): void {
    this.#indexes.delete(manifest)
    this.#indexes.set(manifest, index)
    const [oldest] = this.#indexes.keys()
    if (this.#indexes.size > MAX_INDEXED && oldest !== undefined) this.#indexes.delete(oldest)
  }
}
