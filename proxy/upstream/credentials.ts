import { readFile, stat } from 'node:fs/promises'
import { Gate } from '../gate.ts'
import { canonicalRegistry } from '../oci/name.ts'
import { askCredentialHelper } from './credential-helper.ts'
import {
  type Credentials,
  type DockerConfig,
  emptyDockerConfig,
  parseDockerConfig,
  serverUrlOf,
} from './docker-config.ts'
import type { Host } from './host.ts'
import type { UpstreamLogger } from './registry.ts'

/** How long a helper's answer, or its failure, is good for, in ms. Clouds' secrets live for hours. */
const helperAnswerLifetime = 300_000

/** Hosts whose answers of helpers are kept; the oldest are forgotten. Clients may name hosts without end. */
const maxAnswers = 1_000

/** Helpers that run at the same time: clients can name many registries. */
const maxHelpers = 8

const maxConfigBytes = 1024 * 1024

interface HelperAnswer {
  readonly until: number
  readonly credentials: Promise<Credentials | undefined>
}

/** The node's own credentials: configured ones, then Docker's config file with its helpers. */
export class CredentialStore {
  readonly #path: string | undefined
  readonly #logger: UpstreamLogger
  readonly #now: () => number
  readonly #signal: AbortSignal
  readonly #helpers = new Gate(maxHelpers)
  readonly #answers = new Map<string, HelperAnswer>()
  #config: DockerConfig = emptyDockerConfig
  #stamp = ''

  /** @param signal ends helpers that are running */
  constructor(path: string | undefined, logger: UpstreamLogger, now: () => number, signal: AbortSignal) {
    this.#path = path
    this.#logger = logger
    this.#now = now
    this.#signal = signal
  }

  /** Changes whenever other credentials may be found: what was obtained with the ones before is not to be used then. */
  async version(): Promise<string> {
    if (this.#path === undefined) return ''
    const stamp = await stampOf(this.#path)
    if (stamp !== this.#stamp) {
      this.#config = await this.#read(this.#path, stamp)
      this.#stamp = stamp
      this.#answers.clear()
    }
    return stamp
  }

  /**
   * What the node has for a registry; undefined where it is anonymous. What Docker's file has is for the host it names:
   * it is looked up by the endpoint, so that Docker Hub's password is not sent to somebody's mirror of it.
   * @param fresh ask a helper again, because what it gave last was rejected
   */
  async find(
    { credentials, endpoint }: Pick<Host, 'credentials' | 'endpoint'>,
    fresh: boolean,
  ): Promise<Credentials | undefined> {
    if (credentials !== undefined) return credentials
    await this.version()
    const host = canonicalRegistry(endpoint.host)
    const config = this.#config
    const helper = config.credHelpers.get(host)
    if (helper !== undefined) return this.#ask(helper, host, fresh)
    const stored = config.credsStore === undefined ? undefined : await this.#ask(config.credsStore, host, fresh)
    return stored ?? config.auths.get(host)
  }

  #ask(helper: string, host: string, fresh: boolean): Promise<Credentials | undefined> {
    const known = this.#answers.get(host)
    if (known !== undefined && !fresh && this.#now() < known.until) return known.credentials
    const credentials = this.#run(helper, host).catch((error: Error) => {
      // As nodes often run without the keychain of the person whose config file it is, this is not fatal.
      this.#logger.warn(
        { registry: host, reason: error.message },
        'credential helper failed; going on without credentials',
      )
      return undefined
    })
    this.#answers.delete(host)
    this.#answers.set(host, { until: this.#now() + helperAnswerLifetime, credentials })
    const [oldest] = this.#answers.keys()
    if (this.#answers.size > maxAnswers && oldest !== undefined) this.#answers.delete(oldest)
    return credentials
  }

  async #run(helper: string, host: string): Promise<Credentials | undefined> {
    const leave = await this.#helpers.enter(this.#signal)
    try {
      return await askCredentialHelper(helper, serverUrlOf(host), { signal: this.#signal })
    } finally {
      leave()
    }
  }

  async #read(path: string, stamp: string): Promise<DockerConfig> {
    if (stamp === absent) return emptyDockerConfig
    try {
      if ((await stat(path)).size > maxConfigBytes) throw new Error('larger than 1 MiB')
      return parseDockerConfig(await readFile(path, 'utf8'))
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#logger.warn({ path, reason }, 'Docker config file cannot be used; going on without it')
      return emptyDockerConfig
    }
  }
}

const absent = 'absent'

async function stampOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs}:${size}:${ino}`
  } catch {
    return absent
  }
}
