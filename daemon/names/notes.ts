import type { Logger } from 'pino'
import type { PeerId, SignedName } from '../swarm/ports.ts'
import { fingerprintOf } from './fingerprint.ts'
import { nameOf } from './signed-name.ts'

/** Peers, and conflicts, of which it is remembered that the log has named them; the oldest are forgotten. */
const maxNoted = 1_000

/** What the log says of names, each thing once. */
export class Notes {
  readonly #logger: Pick<Logger, 'info' | 'warn'>
  readonly #noted = new Set<string>()

  constructor(logger: Pick<Logger, 'info' | 'warn'>) {
    this.#logger = logger
  }

  /** Somebody that does not count here has pushed something: told of each peer once. */
  offered({ publisher, repository, reference }: SignedName): void {
    if (!this.#isNew(publisher)) return
    const name = nameOf({ repository, reference })
    const text = `a peer offers what it has pushed; "layerd trust ${publisher}" accepts it`
    this.#logger.info({ publisher, fingerprint: fingerprintOf(publisher), name }, text)
  }

  /** Several that count say different things of a name. */
  conflict(used: SignedName, others: readonly SignedName[]): void {
    const said = [used, ...others].map(({ publisher, digest }) => `${publisher} ${digest}`)
    if (!this.#isNew(`${nameOf(used)} ${said.toSorted().join(' ')}`)) return
    const shown = ({ publisher, digest }: SignedName): { publisher: PeerId; digest: string | undefined } => ({
      publisher,
      digest,
    })
    this.#logger.warn(
      { name: nameOf(used), used: shown(used), others: others.map(shown) },
      'several peers have pushed different images under one name; push it again to settle it',
    )
  }

  /** This node has more names than peers keep of it. @param count those that are unknown to them */
  untold(count: number): void {
    if (count === 0 || !this.#isNew('untold')) return
    const text = 'more images are pushed to this node than peers keep names of; delete tags that nobody needs'
    this.#logger.warn({ unknownToPeers: count }, text)
  }

  #isNew(key: string): boolean {
    if (this.#noted.has(key)) return false
    this.#noted.add(key)
    const [oldest] = this.#noted
    if (this.#noted.size > maxNoted && oldest !== undefined) this.#noted.delete(oldest)
    return true
  }
}
