import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import { OciError } from '../../proxy/oci/errors.ts'
import type { Signer } from '../signature.ts'
import { Turns } from '../store/turns.ts'
import { Allowances } from '../swarm/limits/allowance.ts'
import { sumOf } from '../swarm/names/message.ts'
import type { NameListener, Names, PeerId, SignedName } from '../swarm/ports.ts'
import type { Standing } from './choice.ts'
import { Intake } from './intake.ts'
import type { KeptNames } from './kept.ts'
import { KnownNames } from './known.ts'
import { Notes } from './notes.ts'
import { type PeerOffer, peerOffers } from './offers.ts'
import { isNews, isSignedName, keyOf, type NameStatement, nameOf, signName } from './signed-name.ts'
import { type KnownName, NameTable } from './table.ts'

/** How often this node says one of its names anew at once because peers remember a later word of it, and each second besides. */
const reminders = 3
const remindersPerSecond = 1 / 3_600

/** Names of which that is remembered. */
const remembered = 8_192

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
export class SharedNames extends KnownNames implements NameListener {
  readonly #options: SharedNamesOptions
  readonly #table: NameTable
  readonly #turns = new Turns()
  readonly #intake = new Intake()
  readonly #reminders = new Allowances({ most: reminders, perSecond: remindersPerSecond, remembered })
  readonly #notes: Notes
  /** Names that were pushed or deleted here in this run. */
  readonly #pushed = new Set<string>()
  readonly #now: () => number
  /** Deletions of this node up to this time, by {@link SignedName.at}, may have been forgotten. */
  #forgottenUpTo = 0

  private constructor(options: SharedNamesOptions, table = new NameTable(options.signer.self)) {
    super(table, options.standing)
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#table = table
    this.#notes = new Notes(options.logger)
  }

  /** Reads what is kept. What does not count any more is dropped. */
  static async open(options: SharedNamesOptions): Promise<SharedNames> {
    const names = new SharedNames(options)
    const { kept, signer } = options
    names.#forgottenUpTo = await kept.forgottenUpTo()
    for (const [name, order] of await kept.names()) {
      const isKept = name.publisher === signer.self || names.#counts(name)
      const gone = isKept ? names.#table.add(name, false, { order }).dropped : [name]
      await names.#drop(gone)
    }
    return names
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

  /** Of the peer's own names as well, which it may have lost. */
  namesFor(_: PeerId, publisher: PeerId): readonly SignedName[] {
    return this.#table.keptOf(publisher).filter((known) => this.#isTold(known))
  }

  *sumsFor(peer: PeerId): Generator<readonly [PeerId, Uint8Array]> {
    // Its own come first.
    for (const publisher of new Set([this.self, ...this.#table.publishers()])) {
      const told = this.namesFor(peer, publisher)
      if (told.length > 0) yield [publisher, sumOf(told)]
    }
  }

  wants(peer: PeerId, publisher: PeerId, sum: Uint8Array): boolean {
    const { isHeard } = this.#options.standing
    const isOfUse = publisher === this.self || isHeard(publisher) || publisher === peer
    return isOfUse && Buffer.compare(sum, sumOf(this.#table.keptOf(publisher))) !== 0
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
      if (!isSaid && !isNobodys)
        await this.#say(repository, reference, named, this.#seen({ repository, reference }) + 1)
    })
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

  /** Tags that peers have pushed. */
  offers(): readonly PeerOffer[] {
    return peerOffers(this.#table, this.#options.standing)
  }

  #counts({ publisher, repository }: SignedName): boolean {
    return this.#options.standing.counts(publisher, repository)
  }

  #isTold(name: SignedName): boolean {
    if (!this.#options.mayShare(name.repository)) return false
    if (name.publisher === this.self) return this.#options.isOffered
    return this.#options.standing.mayPassOn(name.publisher, name.repository)
  }

  /**
   * The highest sequence of a name. What strangers say moves nothing. In an open swarm nobody overtakes anybody else, and each one's
   * own counts alone.
   */
  #seen(name: Pick<SignedName, 'repository' | 'reference'>): number {
    if (!this.#options.standing.isClosed) return this.own(name.repository, name.reference)?.sequence ?? 0
    const known = this.#table.said(name).filter(({ isStranger }) => !isStranger)
    return Math.max(0, ...known.map(({ sequence }) => sequence))
  }

  #hear(peer: PeerId, name: SignedName, taken: KnownName[], gone: KnownName[]): void {
    const isStranger = !this.#counts(name)
    const { isClosed, mayPassOn } = this.#options.standing
    const isRelayed = name.publisher !== peer
    if ((isStranger && isClosed) || (isRelayed && !mayPassOn(name.publisher, name.repository))) return
    const before = this.#table.latest(name)
    if (!isNews(name, before) || !this.#table.admits(name, isStranger, peer) || !this.#intake.admits(peer, name)) return
    if (!isSignedName(name)) throw new Error(`the signature of ${nameOf(name)} is wrong`)
    this.#intake.take(peer, name)
    const { known, dropped } = this.#table.add(name, isStranger, { teller: peer })
    gone.push(...dropped)
    if (isStranger) {
      // What counted before is not what it says any more.
      if (before?.isStranger === false) gone.push(before)
      this.#notes.offered(known)
      return
    }
    if (dropped.includes(known)) return
    taken.push(known)
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name, peer)
  }

  /**
   * A peer tells this node what it has said itself: after its records were lost, or came back from a copy of an earlier time. It is taken
   * as it is, so that nothing that was replaced since comes back. Only a push of this run is newer, or a deletion that this node had no
   * room to remember; that is said anew.
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
        const isForgotten = own === undefined && name.at <= this.#forgottenUpTo
        const isOlder = this.#pushed.has(keyOf(name)) || isForgotten
        // Another machine with the same key would answer each answer.
        if (isOlder && this.#reminders.of(keyOf(name)).spend(1))
          await this.#say(
            name.repository,
            name.reference,
            own ?? nothing,
            Math.max(this.#seen(name), name.sequence) + 1,
          )
        else await this.#recall(peer, name)
      })
      .catch((error: unknown) => logger.warn({ err: error, name: nameOf(name) }, 'it can not be kept'))
  }

  async #recall(peer: PeerId, name: SignedName): Promise<void> {
    this.#pushed.delete(keyOf(name))
    const { known, dropped } = this.#table.add(name, false, { teller: peer })
    await this.#options.kept.note([known], [])
    await this.#drop(dropped)
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name, peer)
  }

  async #say(repository: string, reference: string, named: Named, sequence: number): Promise<void> {
    const { signer, kept, logger } = this.#options
    if (!Number.isSafeInteger(sequence)) throw this.#exhausted({ repository, reference })
    const { digest, mediaType, size, subject, artifactType } = named
    const facts = { digest, mediaType, size, subject, artifactType }
    // Of all that a publisher says, peers keep what it has said last, by a time that grows whatever its clock does.
    const at = Math.max(this.#now(), this.#table.lastAt + 1)
    const name = signName(signer, { repository, reference, ...facts, sequence, at })
    await kept.keep(name)
    const { dropped } = this.#table.add(name, false)
    await this.#drop(dropped)
    this.#notes.untold(this.#table.untold)
    logger.debug({ name: nameOf(name), digest, sequence: name.sequence }, 'a name is published')
    this.#noteConflicts(name)
    if (this.#isTold(name)) this.#options.swarm().tell(name)
  }

  /** Forgets what there is no room for. */
  async #drop(dropped: readonly KnownName[] | readonly SignedName[]): Promise<void> {
    if (dropped.length === 0) return
    for (const gone of dropped) {
      if (gone.publisher !== this.self) continue
      this.#pushed.delete(keyOf(gone))
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, gone.at)
    }
    await this.#options.kept.note([], dropped, this.#forgottenUpTo)
  }

  /** Sequences only grow, and nobody gets so far by pushing. */
  #exhausted(name: Pick<SignedName, 'repository' | 'reference'>): OciError {
    const who = this.#table.said(name).find(({ sequence }) => !Number.isSafeInteger(sequence + 1))?.publisher
    const text = `${nameOf(name)} can't be replaced: ${who} has given it the highest number that there is; push under another name, or name those whose pushes count in registry.publishers, without that peer`
    return new OciError('DENIED', text)
  }

  /** What is known of a peer counts now, or does not any more. */
  async #reconsider(peer: PeerId): Promise<void> {
    for (const known of this.#table.ofPublisher(peer)) {
      const isStranger = !this.#counts(known)
      // Something newer may have come while others were written.
      if (isStranger === known.isStranger || this.#table.latest(known) !== known) continue
      const { known: now, dropped } = this.#table.add(known, isStranger, { teller: known.teller })
      await this.#options.kept.note(
        isStranger || dropped.includes(now) ? [] : [now],
        isStranger ? [now, ...dropped] : dropped,
      )
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
