import type { PeerId, SignedName } from '../swarm/ports.ts'
import { type Said, Shares } from './shares.ts'

/** A record that is known. */
export interface KnownName extends SignedName {
  /** Grows with each that this node hears of for the first time, or that begins to count: who was first. */
  readonly order: number
  /** Whether its publisher counts for nothing here. It is kept in memory only, to be shown. */
  readonly isStranger: boolean
  /** The peer that told it, whose share of the room it takes; its publisher where that is not known. */
  readonly teller: PeerId
}

interface TableBounds {
  /** Names of one publisher, and as many that it has deleted. */
  readonly ofPublisher: number
  /** Names of one that counts for nothing. */
  readonly ofStranger: number
  /** Of all those. */
  readonly ofStrangers: number
  /** Of others than this node. */
  readonly inAll: number
}

export const usualBounds: TableBounds = { ofPublisher: 1_000, ofStranger: 50, ofStrangers: 1_000, inAll: 10_000 }

type Kind = 'named' | 'deleted' | 'strange'

/**
 * Records of names: of each publisher the latest for each name. They are bounded by two rules.
 *
 * - *Of one publisher, what it has said last stays*, by its own time, which grows with all that it says. So all nodes keep the same, and
 *   what a node was told again is not news. Deletions have a bound of their own: no push brings back what was deleted before it.
 *   This node keeps all of its own names; peers hear of as many as they keep.
 * - *Where the whole has no room left, all who told something have equal shares of it*, and of each share what was said last stays. To
 *   make up publishers, and to pass on their records, takes the room of whoever does so.
 */
export class NameTable {
  readonly #self: PeerId
  readonly #bounds: TableBounds
  readonly #byPublisher = new Map<PeerId, Map<string, KnownName>>()
  readonly #byRepository = new Map<string, Set<KnownName>>()
  readonly #byName = new Map<string, Set<KnownName>>()
  /** How many of each kind a publisher has. */
  readonly #counts = new Map<string, number>()
  readonly #others: Shares<KnownName>
  readonly #strangers: Shares<KnownName>
  #lastOrder = 0
  #lastAt = 0

  constructor(self: PeerId, bounds: TableBounds = usualBounds) {
    this.#self = self
    this.#bounds = bounds
    this.#others = new Shares(bounds.inAll, byTime)
    this.#strangers = new Shares(bounds.ofStrangers, byTime)
  }

  get size(): number {
    return [...this.#byPublisher.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** The latest time that this node has given a record of its own. */
  get lastAt(): number {
    return this.#lastAt
  }

  /** What a publisher has said of a name last. */
  latest({ publisher, repository, reference }: Pick<SignedName, 'publisher' | 'repository' | 'reference'>) {
    return this.#byPublisher.get(publisher)?.get(keyOf(repository, reference))
  }

  /** Of a repository, by whomever. */
  of(repository: string): readonly KnownName[] {
    return [...(this.#byRepository.get(repository) ?? [])]
  }

  /** Of one name, by whomever. */
  said({ repository, reference }: Pick<SignedName, 'repository' | 'reference'>): readonly KnownName[] {
    return [...(this.#byName.get(keyOf(repository, reference)) ?? [])]
  }

  repositories(): readonly string[] {
    return [...this.#byRepository.keys()]
  }

  publishers(): readonly PeerId[] {
    return [...this.#byPublisher.keys()]
  }

  ofPublisher(publisher: PeerId): readonly KnownName[] {
    return [...(this.#byPublisher.get(publisher)?.values() ?? [])]
  }

  /** Names of this node itself that peers do not keep, as it has more than they keep of anybody. */
  get untold(): number {
    return Math.max(0, this.#countOf(this.#self, 'named') - this.#bounds.ofPublisher)
  }

  /** What peers keep of a publisher: of this node's own names the latest ones, and all of others, which are bounded anyway. */
  keptOf(publisher: PeerId): readonly KnownName[] {
    const all = this.ofPublisher(publisher)
    if (this.untold === 0 || publisher !== this.#self) return all
    const names = all.filter((one) => kindOf(one) === 'named').toSorted(byTime)
    return [...all.filter((one) => kindOf(one) !== 'named'), ...names.slice(-this.#bounds.ofPublisher)]
  }

  /** Whether there is room for a record, which is to be asked before its signature is checked. */
  admits(name: SignedName, isStranger: boolean, teller: PeerId): boolean {
    if (name.publisher === this.#self || this.latest(name) !== undefined) return true
    const kind = kindOf({ ...name, isStranger })
    const isFull = this.#countOf(name.publisher, kind) >= this.#boundOf(kind)
    const last = isFull ? this.#last(name.publisher, kind) : undefined
    if (last !== undefined && byTime(name, last) < 0) return false
    return isFull || this.#sharesOf(isStranger).admits(teller, name)
  }

  /**
   * Puts a record in the place of the one before it.
   * @param order where it was known before the table was made
   * @returns it, and what gave way to it, which may be itself
   */
  add(
    name: SignedName,
    isStranger: boolean,
    { order, teller = name.publisher }: { readonly order?: number | undefined; readonly teller?: PeerId } = {},
  ): { readonly known: KnownName; readonly dropped: KnownName[] } {
    const before = this.latest(name)
    if (before !== undefined) this.remove(before)
    const isAsBefore = before !== undefined && before.isStranger === isStranger
    const known = { ...name, isStranger, teller, order: order ?? (isAsBefore ? before.order : this.#lastOrder + 1) }
    this.#lastOrder = Math.max(this.#lastOrder, known.order)
    const { publisher, repository, reference } = name
    if (publisher === this.#self) this.#lastAt = Math.max(this.#lastAt, name.at)
    const names = this.#byPublisher.get(publisher) ?? new Map<string, KnownName>()
    this.#byPublisher.set(publisher, names.set(keyOf(repository, reference), known))
    addTo(this.#byRepository, repository, known)
    addTo(this.#byName, keyOf(repository, reference), known)
    this.#count(known, 1)
    if (publisher !== this.#self) this.#sharesOf(isStranger).add(teller, known)
    return { known, dropped: this.#trim(known) }
  }

  remove(known: KnownName): void {
    const { publisher, repository, reference, isStranger, teller } = known
    const names = this.#byPublisher.get(publisher)
    if (names?.get(keyOf(repository, reference)) !== known) return
    names.delete(keyOf(repository, reference))
    if (names.size === 0) this.#byPublisher.delete(publisher)
    removeFrom(this.#byRepository, repository, known)
    removeFrom(this.#byName, keyOf(repository, reference), known)
    this.#count(known, -1)
    if (publisher !== this.#self) this.#sharesOf(isStranger).remove(teller, known)
  }

  #trim(known: KnownName): KnownName[] {
    const dropped: KnownName[] = []
    const drop = (one: KnownName | undefined) => {
      if (one === undefined) return
      this.remove(one)
      dropped.push(one)
    }
    const kind = kindOf(known)
    const isKept = known.publisher === this.#self && kind === 'named'
    if (!isKept && this.#countOf(known.publisher, kind) > this.#boundOf(kind)) drop(this.#last(known.publisher, kind))
    drop(this.#sharesOf(known.isStranger).excess())
    return dropped
  }

  #sharesOf(isStranger: boolean): Shares<KnownName> {
    return isStranger ? this.#strangers : this.#others
  }

  #boundOf(kind: Kind): number {
    return kind === 'strange' ? this.#bounds.ofStranger : this.#bounds.ofPublisher
  }

  /** Of a publisher's records of a kind, the one that it has said longest ago. */
  #last(publisher: PeerId, kind: Kind): KnownName | undefined {
    let last: KnownName | undefined
    for (const one of this.#byPublisher.get(publisher)?.values() ?? [])
      if (kindOf(one) === kind && (last === undefined || byTime(one, last) < 0)) last = one
    return last
  }

  #countOf(publisher: PeerId, kind: Kind): number {
    return this.#counts.get(`${publisher} ${kind}`) ?? 0
  }

  #count(known: KnownName, by: number): void {
    const key = `${known.publisher} ${kindOf(known)}`
    const count = (this.#counts.get(key) ?? 0) + by
    if (count === 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
  }
}

function kindOf({ digest, isStranger }: Pick<KnownName, 'digest' | 'isStranger'>): Kind {
  if (isStranger) return 'strange'
  return digest === undefined ? 'deleted' : 'named'
}

/** By what their publisher said first. Nobody gives two records one time but by mistake; then all nodes choose the same. */
function byTime(a: Said, b: Said): number {
  if (a.at !== b.at) return a.at - b.at
  const [one, other] = [keyOf(a.repository, a.reference), keyOf(b.repository, b.reference)]
  return one < other ? -1 : Number(one > other)
}

function addTo(index: Map<string, Set<KnownName>>, key: string, known: KnownName): void {
  index.set(key, (index.get(key) ?? new Set()).add(known))
}

function removeFrom(index: Map<string, Set<KnownName>>, key: string, known: KnownName): void {
  const all = index.get(key)
  all?.delete(known)
  if (all?.size === 0) index.delete(key)
}

/** No repository or reference has a space. */
function keyOf(repository: string, reference: string): string {
  return `${repository} ${reference}`
}
