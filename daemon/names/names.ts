import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Signer } from '../signature.ts'
import { Turns } from '../store/turns.ts'
import { Allowances } from '../swarm/limits/allowance.ts'
import type { NameListener, Names, PeerId, SignedName } from '../swarm/ports.ts'
import { type Choice, choose, ownerOf, type Standing } from './choice.ts'
import type { KeptNames } from './kept.ts'
import { Notes } from './notes.ts'
import { isSignedName, type NameStatement, nameOf, signName } from './signed-name.ts'
import { type NamesStatus, namesStatus } from './status.ts'
import { type KnownName, NameTable } from './table.ts'

/** Records of one publisher that are taken at once, and each second besides. What comes beyond is taken when peers tell it again. */
const burst = 1_000
const perSecond = 2

/** How often this node says one of its names anew at once because peers remember a later word of it, and each second besides. */
const reminders = 3
const remindersPerSecond = 1 / 3_600

/** Publishers, and names, of which that is remembered. */
const remembered = 8_192

/** Refuse a sequence that is this much above all others of its name. Nobody pushes as often, and nobody could follow for long. */
const maxJump = 2 ** 32

/** What a name is now; deleted where there is no digest. */
export type Named = Pick<NameStatement, 'digest' | 'mediaType' | 'size' | 'subject' | 'artifactType'>

/** What is said of a name that was deleted. */
const nothing: Named = {
  digest: undefined,
  mediaType: undefined,
  size: 0,
  subject: undefined,
  artifactType: undefined,
}

interface SharedNamesOptions {
  readonly signer: Signer
  readonly standing: Standing
  readonly kept: KeptNames
  /** Whether peers hear of what was pushed to this node. */
  readonly isOffered: boolean
  /** Whether peers may hear of a repository of the local registry. */
  readonly mayShare: (repository: string) => boolean
  readonly swarm: () => Pick<Names, 'tell' | 'ask'>
  readonly logger: Pick<Logger, 'info' | 'warn' | 'debug'>
  readonly now?: () => number
}

/**
 * Names of pushed images, as this node and its peers publish them. A record is signed by whoever pushed, and passed on by all for whom
 * its publisher counts. In an open swarm, others speak for themselves alone: to make up publishers costs a connection each.
 */
export class SharedNames implements NameListener {
  readonly #options: SharedNamesOptions
  readonly #table: NameTable
  readonly #turns = new Turns()
  readonly #allowances: Allowances
  readonly #reminders = new Allowances({ most: reminders, perSecond: remindersPerSecond, remembered })
  readonly #notes: Notes
  /** Names that were pushed or deleted here in this run. */
  readonly #pushed = new Set<string>()
  readonly #now: () => number

  private constructor(options: SharedNamesOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#table = new NameTable(options.signer.self)
    this.#allowances = new Allowances({ most: burst, perSecond, remembered })
    this.#notes = new Notes(options.logger)
  }

  /** Reads what is kept. What does not count any more is dropped. */
  static async open(options: SharedNamesOptions): Promise<SharedNames> {
    const names = new SharedNames(options)
    const { kept, signer } = options
    for (const [name, order] of await kept.names()) {
      if (name.publisher === signer.self || names.#counts(name)) names.#table.add(name, false, order)
      else await kept.note([], [name])
    }
    return names
  }

  get self(): PeerId {
    return this.#options.signer.self
  }

  named(peer: PeerId, names: readonly SignedName[]): void {
    const taken: KnownName[] = []
    const dropped: KnownName[] = []
    try {
      for (const name of names) {
        if (name.publisher === this.self) this.#remind(peer, name)
        else this.#hear(peer, name, taken, dropped)
      }
    } finally {
      // What was dropped for others may have come in the same message.
      this.#options.kept.note(taken, dropped).catch(() => {})
    }
  }

  *namesFor(_: PeerId, publisher?: PeerId): Generator<SignedName> {
    // Its own comes first, and is small.
    const publishers = publisher === undefined ? [this.self, ...this.#table.publishers()] : [publisher]
    for (const each of new Set(publishers)) {
      // Also its own, which it may have lost.
      for (const known of this.#table.ofPublisher(each)) if (this.#isTold(known)) yield known
    }
  }

  /** What a name is: a tag, or the digest of what refers to something. */
  choose(repository: string, reference: string): Choice {
    const { standing } = this.#options
    return choose(this.#table.said({ repository, reference }), ownerOf(this.#table.of(repository), standing), standing)
  }

  /** Names of a repository that are something, each as it is. */
  all(repository: string): readonly SignedName[] {
    const { standing } = this.#options
    const known = this.#table.of(repository)
    const owner = ownerOf(known, standing)
    const byReference = Map.groupBy(known, ({ reference }) => reference)
    const chosen = [...byReference.values()].map((said) => choose(said, owner, standing).name)
    return chosen.filter((name) => name !== undefined)
  }

  /** Repositories in which something is named, by those who count. */
  repositories(): readonly string[] {
    return this.#table.repositories().filter((repository) => this.has(repository))
  }

  has(repository: string): boolean {
    return this.#table.of(repository).some((known) => known.digest !== undefined && this.#isCounted(known))
  }

  /** Whether anybody at all says that a repository has something. */
  isHeardOf(repository: string): boolean {
    return this.#table.of(repository).some(({ digest }) => digest !== undefined)
  }

  /** What this node itself has said of a name last. */
  own(repository: string, reference: string): SignedName | undefined {
    return this.#table.latest({ publisher: this.self, repository, reference })
  }

  /**
   * Says what a name is from now on, where that is not so anyway. Durable when it returns.
   * @param now read when its turn has come
   * @param isPush whether somebody does so in this moment; what an earlier run has done is not newer than what peers remember
   * @throws where it can't be kept
   */
  async publish(repository: string, reference: string, now: () => Named | undefined, isPush = true): Promise<void> {
    const key = keyOf({ repository, reference })
    await this.#turns.take(key, async () => {
      const named = now() ?? nothing
      const { name, conflicts } = this.choose(repository, reference)
      const own = this.own(repository, reference)
      // Whoever deletes what is somebody else's does so in a closed swarm only.
      const isNobodys = named.digest === undefined && own?.digest === undefined && !this.#options.standing.isClosed
      const isSaid = name?.digest === named.digest && own?.digest === named.digest && conflicts.length === 0
      if (isPush && !isNobodys) this.#pushed.add(key)
      if (!isSaid && !isNobodys) await this.#say(repository, reference, named, this.#seen({ repository, reference }) + 1)
    })
  }

  /** Who has published anything that is known, whether it counts or not. */
  publishers(): readonly PeerId[] {
    return this.#table.publishers()
  }

  /** What somebody has published, without what was deleted. */
  by(publisher: PeerId): readonly SignedName[] {
    return this.#table.ofPublisher(publisher).filter(({ digest }) => digest !== undefined)
  }

  /** Records of a peer count from now on. */
  async trusted(peer: PeerId): Promise<void> {
    await this.#reconsider(peer)
    this.#options.swarm().ask(peer)
  }

  /** Those of a peer that is not accepted any more. */
  async untrusted(peer: PeerId): Promise<void> {
    await this.#reconsider(peer)
  }

  status(): NamesStatus {
    return namesStatus(this.#table, this.#options.standing)
  }

  #counts({ publisher, repository }: SignedName): boolean {
    return this.#options.standing.counts(publisher, repository)
  }

  #isCounted(name: SignedName): boolean {
    return name.publisher === this.self || this.#counts(name)
  }

  #isTold(name: SignedName): boolean {
    if (!this.#options.mayShare(name.repository)) return false
    return name.publisher === this.self ? this.#options.isOffered : this.#counts(name)
  }

  /** The highest sequence of a name. What strangers say moves nothing. */
  #seen(name: Pick<SignedName, 'repository' | 'reference'>): number {
    const known = this.#table.said(name).filter(({ isStranger }) => !isStranger)
    return Math.max(0, ...known.map(({ sequence }) => sequence))
  }

  #hear(peer: PeerId, name: SignedName, taken: KnownName[], gone: KnownName[]): void {
    const isStranger = !this.#counts(name)
    const { isClosed } = this.#options.standing
    if (isStranger && (isClosed || name.publisher !== peer)) return
    if (name.sequence > this.#seen(name) + maxJump || !isNews(name, this.#table.latest(name))) return
    const allowance = this.#allowances.of(name.publisher)
    if (allowance.left < 1) return
    if (!isSignedName(name)) throw new Error(`the signature of ${nameOf(name)} is wrong`)
    // After that: nobody can use up what somebody else has.
    allowance.spend(1)
    const { known, dropped } = this.#table.add(name, isStranger)
    if (isStranger) {
      this.#notes.offered(known)
      return
    }
    taken.push(known)
    gone.push(...dropped)
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name, peer)
  }

  /**
   * A peer tells this node what it has said itself: after its records were lost, or came back from a copy of an earlier time. It is taken
   * as it is, so that nothing that was replaced since comes back. Only a push of this run is newer, and is said anew.
   */
  #remind(peer: PeerId, name: SignedName): void {
    if (!isNews(name, this.own(name.repository, name.reference))) return
    if (!isSignedName(name)) throw new Error(`the signature of ${nameOf(name)} is wrong`)
    const { logger } = this.#options
    this.#turns
      .take(keyOf(name), async () => {
        const own = this.own(name.repository, name.reference)
        if (!isNews(name, own)) return
        logger.info({ name: nameOf(name) }, 'peers know a later push of this node than it does itself')
        // Another machine with the same key would answer each answer.
        if (own !== undefined && this.#pushed.has(keyOf(name)) && this.#reminders.of(keyOf(name)).spend(1))
          await this.#say(name.repository, name.reference, own, name.sequence + 1)
        else await this.#recall(peer, name)
      })
      .catch((error: unknown) => logger.warn({ err: error, name: nameOf(name) }, 'it can not be kept'))
  }

  async #recall(peer: PeerId, name: SignedName): Promise<void> {
    this.#pushed.delete(keyOf(name))
    const { known, dropped } = this.#table.add(name, false)
    await this.#options.kept.note([known], dropped)
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name, peer)
  }

  async #say(repository: string, reference: string, named: Named, sequence: number): Promise<void> {
    const { signer, kept, logger } = this.#options
    const { digest, mediaType, size, subject, artifactType } = named
    const facts = { digest, mediaType, size, subject, artifactType }
    const name = signName(signer, { repository, reference, ...facts, sequence, at: this.#now() })
    await kept.keep(name)
    const { dropped } = this.#table.add(name, false)
    for (const gone of dropped) this.#pushed.delete(keyOf(gone))
    if (dropped.length > 0) await kept.note([], dropped)
    logger.debug({ name: nameOf(name), digest, sequence: name.sequence }, 'a name is published')
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name)
  }

  /** What is known of a peer counts now, or does not any more. */
  async #reconsider(peer: PeerId): Promise<void> {
    for (const known of this.#table.ofPublisher(peer)) {
      const isStranger = !this.#counts(known)
      if (isStranger === known.isStranger) continue
      const { known: now, dropped } = this.#table.add(known, isStranger, known.order)
      await this.#options.kept.note(isStranger ? [] : [now], isStranger ? [now, ...dropped] : dropped)
      if (!isStranger) this.#noteConflicts(known)
      // Others who accepted it may not have it from the peer itself.
      if (this.#isTold(now)) this.#options.swarm().tell(now, peer)
      await nextTurn()
    }
  }

  #noteConflicts({ repository, reference }: SignedName): void {
    const { name, conflicts } = this.choose(repository, reference)
    if (name !== undefined && conflicts.length > 0) this.#notes.conflict(name, conflicts)
  }
}

/** Whether a record takes the place of another one of its publisher. Of two that a key has signed at once, all nodes keep the same. */
function isNews(name: SignedName, known: SignedName | undefined): boolean {
  if (known === undefined || name.sequence !== known.sequence) return name.sequence > (known?.sequence ?? 0)
  return (name.digest ?? '') > (known.digest ?? '')
}

/** No repository or reference has a space. */
function keyOf({ repository, reference }: Pick<SignedName, 'repository' | 'reference'>): string {
  return `${repository} ${reference}`
}
