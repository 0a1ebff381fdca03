import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from './agent.ts'
import { Draw } from './draw.ts'
import type { Blob, Image } from './images.ts'
import { holdingOf } from './ledger.ts'
import { type Node, REGISTRY_PORT } from './node.ts'
import { UPSTREAM } from './troubles.ts'
import type { World } from './world.ts'

/** Mean time between two things that a client does, in ms. */
const PAUSE_MS = 4_000
/** This part of what it does are pulls of whole images. */
const PULLS_PART = 0.6
/** Layers that it fetches at a time, as containerd does. */
const AT_ONCE = 3
/** Longest that it waits for one answer, in ms. An image of 30 MiB takes 30 s where upstream is slow. */
const ANSWER_MS = 120_000
/** A tag may be this old, in ms: `tags.freshFor`, and what `tags.patience` and a busy machine add. */
const TAG_AGE_MS = 25_000
const ACCEPT = { accept: 'application/vnd.oci.image.manifest.v1+json' }

/** What clients have done. */
export interface Pulls {
  images: number
  blobs: number
  bytes: number
  ranges: number
  heads: number
  tags: number
  hangUps: number
  /** Answers that were no content, or ended early, by what was wrong: allowed where somebody had a fault. */
  failed: Map<string, number>
  /** ms that whole blobs took while nobody had a fault. */
  times: number[]
}

/** A client of one node: pulls images, and does what else clients do, one thing after the other. */
export class Client {
  readonly #world: World
  readonly #node: Node
  readonly #draw: Draw
  readonly #pulls: Pulls

  constructor(world: World, node: Node, pulls: Pulls) {
    this.#world = world
    this.#node = node
    this.#draw = new Draw(world.options.seed, 'client', node.name)
    this.#pulls = pulls
  }

  async run(signal: AbortSignal): Promise<void> {
    const pause = PAUSE_MS / this.#world.options.pace
    while (!signal.aborted) {
      const image = this.#draw.one(this.#world.images.all)
      const what = this.#draw.between(0, 1)
      if (what < PULLS_PART) await this.#pull(image)
      else if (what < 0.75) await this.#range(image)
      else if (what < 0.85) await this.#head(image)
      else if (what < 0.95) await this.#tag(image)
      else await this.#hangUp(image)
      await delay(this.#draw.pause(pause), undefined, { signal }).catch(() => {})
    }
  }

  async #pull(image: Image): Promise<void> {
    const digest = await this.#tag(image)
    const version = image.versions.find((other) => other.digest === digest)
    if (version === undefined) return
    const rest = this.#draw.shuffled(version.blobs)
    const worker = async () => {
      for (let blob = rest.pop(); blob !== undefined; blob = rest.pop()) await this.#blob(image, blob)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    this.#pulls.images++
  }

  async #blob({ repository }: Image, { digest, size }: Blob): Promise<void> {
    const answer = await this.#ask('blob', `/v2/${repository}/blobs/${digest}`)
    if (answer === undefined) return
    this.#right('blob', answer, digest, digest, size)
    this.#pulls.blobs++
    this.#pulls.bytes += answer.bytes
    this.#pulls.times.push(answer.took)
  }

  async #range(image: Image): Promise<void> {
    const { repository } = image
    const { digest, size } = this.#anyBlob(image)
    const start = this.#draw.below(size)
    const end = Math.min(size - 1, start + Math.floor(this.#draw.logBetween(1, 4 * 2 ** 20)))
    const headers = { range: `bytes=${start}-${end}` }
    const answer = await this.#ask('range', `/v2/${repository}/blobs/${digest}`, { headers })
    if (answer === undefined) return
    this.#pulls.ranges++
    this.#pulls.bytes += answer.bytes
    if (answer.status === 200) this.#right('range', answer, digest, digest, size)
    else {
      const expected = await this.#world.images.digestOfPart(digest, start, end)
      this.#right('range', answer, `${digest}, ${headers.range}`, expected, end - start + 1)
    }
  }

  async #head(image: Image): Promise<void> {
    const { repository } = image
    const { digest, size } = this.#anyBlob(image)
    const answer = await this.#ask('HEAD', `/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })
    if (answer === undefined) return
    this.#pulls.heads++
    const length = Number(answer.headers['content-length'])
    if (length !== size) this.#wrong(`HEAD of ${digest} says ${length} bytes in place of ${size}`)
  }

  /** @returns the digest that the tag means; undefined where nothing was answered */
  async #tag({ repository, tag }: Image): Promise<string | undefined> {
    const since = performance.now()
    const answer = await this.#ask('tag', `/v2/${repository}/manifests/${tag}`, { headers: ACCEPT })
    if (answer === undefined) return undefined
    this.#pulls.tags++
    const { digest, headers } = answer
    const said = headers['docker-content-digest']
    if (said !== digest) this.#wrong(`${repository}:${tag} is said to be ${said}, and came as ${digest}`)
    // Read anew: it may have been built since.
    const versions = this.#world.images.all.find((other) => other.repository === repository)?.versions ?? []
    const at = versions.findIndex((version) => version.digest === digest)
    if (at < 0) this.#wrong(`${repository}:${tag} is ${digest}, which nobody has ever pushed`)
    const replacedAt = versions[at + 1]?.pushed
    const age = at < 0 || replacedAt === undefined ? 0 : since - replacedAt
    if (age > TAG_AGE_MS && this.#areWell([this.#node.name, UPSTREAM], since)) {
      const text = `${repository}:${tag} is ${digest}, which was replaced ${Math.round(age / 1000)} s ago`
      this.#world.journal.violate('a tag is too old', this.#node.name, text)
    }
    return digest
  }

  async #hangUp(image: Image): Promise<void> {
    const { digest, size } = this.#anyBlob(image)
    const hangUpAfter = Math.max(1, this.#draw.below(size))
    const question = {
      port: REGISTRY_PORT,
      path: `/v2/${image.repository}/blobs/${digest}`,
      deadline: ANSWER_MS,
      hangUpAfter,
    }
    await this.#node.ask(question).catch(() => undefined)
    this.#pulls.hangUps++
  }

  /** Of the newest version, mostly. */
  #anyBlob({ versions }: Image): Blob {
    const pushed = versions.filter((version) => version.pushed !== undefined)
    const version = this.#draw.chance(0.7) ? pushed.at(-1) : this.#draw.one(pushed)
    return this.#draw.one(version?.blobs ?? [])
  }

  /** @returns the whole answer; undefined where there was none, or an error, or it ended early */
  async #ask(
    what: string,
    path: string,
    options: { method?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer | undefined> {
    const since = performance.now()
    const holders = this.#holders(path)
    const question = { port: REGISTRY_PORT, path: `${path}?ns=docker.io`, deadline: ANSWER_MS, ...options }
    const answer = await this.#node.ask(question).catch((error: Error) => error)
    const problem = problemOf(answer)
    if (problem === undefined) return answer as Answer
    const took = Math.round(performance.now() - since)
    const { name } = this.#node
    const { journal } = this.#world
    const { failed } = this.#pulls
    failed.set(`${what}: ${problem}`, (failed.get(`${what}: ${problem}`) ?? 0) + 1)
    journal.note('pull failed', { node: name, what, path, problem, took, holders })
    const text = `${what} ${path}: ${problem}, after ${took} ms`
    if (this.#areWell([name, UPSTREAM], since)) journal.violate('a pull failed', name, text)
    const holder = options.method === undefined && holders.find((other) => this.#areWell([name, other], since))
    if (holder) journal.violate('a pull failed though a node has it', name, `${text}; ${holder} has it`)
    return undefined
  }

  /** Nodes that have the blob of a path now. They have to give it, whatever becomes of upstream. */
  #holders(path: string): string[] {
    const digest = /\/blobs\/(sha256:\w+)$/.exec(path)?.[1]
    if (digest === undefined) return []
    return this.#world.nodes.flatMap(({ name, dataDir }) => (holdingOf(dataDir, digest) === 'whole' ? [name] : []))
  }

  #right(what: string, answer: Answer, name: string, digest: string, size: number): void {
    if (answer.digest === digest && answer.bytes === size) return
    this.#wrong(
      `${what} ${name}: ${answer.bytes} bytes of ${size} with the digest ${answer.digest}, expected ${digest}`,
    )
  }

  #wrong(text: string): void {
    this.#world.journal.violate('wrong bytes', this.#node.name, text)
  }

  /** Whether they had no fault since then, and long enough before. */
  #areWell(whose: readonly string[], since: number): boolean {
    const { troubles, options } = this.#world
    return troubles.wereWell(whose, since, options.settle * 1000, performance.now())
  }
}

function problemOf(answer: Answer | Error): string | undefined {
  if (answer instanceof Error) return answer.message
  if (answer.status >= 300) return String(answer.status)
  return answer.isComplete ? undefined : `${answer.status}, cut off`
}
