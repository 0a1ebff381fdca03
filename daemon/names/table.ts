import type { PeerId, SignedName } from '../swarm/ports.ts'

/** A record that is known. */
export interface KnownName extends SignedName {
  /** Grows with each that is heard of for the first time by this node: who was first. */
  readonly order: number
  /** Whether its publisher counts for nothing here. It is kept in memory only, to be shown. */
  readonly isStranger: boolean
}

/** What is kept of others. This node's own records are as many as it has names; of its deletions the latest are kept. */
interface TableBounds {
  /** Of one publisher. */
  readonly ofPublisher: number
  /** Of one that counts for nothing. */
  readonly ofStranger: number
  /** Of all those. */
  readonly ofStrangers: number
  readonly inAll: number
}

const usual: TableBounds = { ofPublisher: 1_000, ofStranger: 50, ofStrangers: 1_000, inAll: 10_000 }

/** Records of names: of each publisher the latest for each name, bounded. Where there are too many, those who have most lose some. */
export class NameTable {
  readonly #self: PeerId
  readonly #bounds: TableBounds
  readonly #byPublisher = new Map<PeerId, Map<string, KnownName>>()
  readonly #byRepository = new Map<string, Set<KnownName>>()
  readonly #byName = new Map<string, Set<KnownName>>()
  /** Records of others. */
  #others = 0
  #strangers = 0
  #lastOrder = 0

  constructor(self: PeerId, bounds: TableBounds = usual) {
    this.#self = self
    this.#bounds = bounds
  }

  get size(): number {
    return [...this.#byPublisher.values()].reduce((sum, { size }) => sum + size, 0)
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

  /**
   * Puts a record in the place of the one before it.
   * @param order where it was known before the table was made
   * @returns it, and what gave way to it, which may be itself
   */
  add(
    name: SignedName,
    isStranger: boolean,
    order?: number,
  ): { readonly known: KnownName; readonly dropped: KnownName[] } {
    const before = this.latest(name)
    if (before !== undefined) this.remove(before)
    const known = { ...name, isStranger, order: order ?? before?.order ?? this.#lastOrder + 1 }
    this.#lastOrder = Math.max(this.#lastOrder, known.order)
    const { publisher, repository, reference } = name
    const names = this.#byPublisher.get(publisher) ?? new Map<string, KnownName>()
    this.#byPublisher.set(publisher, names.set(keyOf(repository, reference), known))
    addTo(this.#byRepository, repository, known)
    addTo(this.#byName, keyOf(repository, reference), known)
    this.#count(known, 1)
    return { known, dropped: this.#trim(known) }
  }

  remove(known: KnownName): void {
    const { publisher, repository, reference } = known
    const names = this.#byPublisher.get(publisher)
    if (names?.get(keyOf(repository, reference)) !== known) return
    names.delete(keyOf(repository, reference))
    if (names.size === 0) this.#byPublisher.delete(publisher)
    removeFrom(this.#byRepository, repository, known)
    removeFrom(this.#byName, keyOf(repository, reference), known)
    this.#count(known, -1)
  }

  #count({ publisher, isStranger }: KnownName, by: number): void {
    if (publisher !== this.#self) this.#others += by
    if (isStranger) this.#strangers += by
  }

  #trim({ publisher, isStranger, digest }: KnownName): KnownName[] {
    const dropped: KnownName[] = []
    const drop = (names: readonly KnownName[]) => {
      const [least] = names.toSorted(byWorth)
      if (least === undefined) return false
      this.remove(least)
      dropped.push(least)
      return true
    }
    const { ofPublisher, ofStranger, ofStrangers, inAll } = this.#bounds
    const count = this.#byPublisher.get(publisher)?.size ?? 0
    const isOwn = publisher === this.#self
    if (isOwn && digest === undefined) {
      const deleted = this.ofPublisher(publisher).filter((one) => one.digest === undefined)
      if (deleted.length > ofPublisher) drop(deleted)
    }
    if (!isOwn && count > (isStranger ? ofStranger : ofPublisher)) drop(this.ofPublisher(publisher))
    while (this.#strangers > ofStrangers && drop(this.#most((one) => one.isStranger))) {}
    while (this.#others > inAll && drop(this.#most((one) => one.publisher !== this.#self))) {}
    return dropped
  }

  /** The records of the publisher that has most of a kind. */
  #most(isMeant: (known: KnownName) => boolean): readonly KnownName[] {
    let most: readonly KnownName[] = []
    for (const publisher of this.#byPublisher.keys()) {
      const names = this.ofPublisher(publisher).filter(isMeant)
      if (names.length > most.length) most = names
    }
    return most
  }
}

function addTo(index: Map<string, Set<KnownName>>, key: string, known: KnownName): void {
  index.set(key, (index.get(key) ?? new Set()).add(known))
}

function removeFrom(index: Map<string, Set<KnownName>>, key: string, known: KnownName): void {
  const all = index.get(key)
  all?.delete(known)
  if (all?.size === 0) index.delete(key)
}

/** What can be done without comes first: what was deleted, then what has been known for longest. */
function byWorth(a: KnownName, b: KnownName): number {
  const isLive = ({ digest }: KnownName) => Number(digest !== undefined)
  return isLive(a) - isLive(b) || a.order - b.order
}

/** No repository or reference has a space. */
function keyOf(repository: string, reference: string): string {
  return `${repository} ${reference}`
}
