import type { PeerId, SignedName } from '../swarm/ports.ts'
import { type Choice, choose, isCounted, ownerOf, type Standing } from './choice.ts'
import { type NamesStatus, namesStatus } from './status.ts'
import type { NameTable } from './table.ts'

/** What names are, by all records that are known. */
export class KnownNames {
  readonly #table: NameTable
  readonly #standing: Standing

  constructor(table: NameTable, standing: Standing) {
    this.#table = table
    this.#standing = standing
  }

  get self(): PeerId {
    return this.#standing.self
  }

  /** What a name is: a tag, or the digest of what refers to something. */
  choose(repository: string, reference: string): Choice {
    const standing = this.#standing
    return choose(this.#table.said({ repository, reference }), ownerOf(this.#table.of(repository), standing), standing)
  }

  /** Names of a repository that are something, each as it is. */
  all(repository: string): readonly SignedName[] {
    const standing = this.#standing
    const known = this.#table.of(repository)
    const owner = ownerOf(known, standing)
    const byReference = Map.groupBy(known, ({ reference }) => reference)
    const chosen = [...byReference.values()].map((said) => choose(said, owner, standing).name)
    return chosen.filter((name) => name !== undefined)
  }

  /** Whose a repository is in an open swarm. */
  ownerOf(repository: string): PeerId | undefined {
    return ownerOf(this.#table.of(repository), this.#standing)
  }

  /** Repositories in which something is named, by those who count. */
  repositories(): readonly string[] {
    return this.#table.repositories().filter((repository) => this.has(repository))
  }

  has(repository: string): boolean {
    return this.#table.of(repository).some((known) => known.digest !== undefined && isCounted(known, this.#standing))
  }

  /** Whether anybody else says that a repository has something, whether that counts or not: what is asked for by digest proves itself. */
  isNamedByOthers(repository: string): boolean {
    const { self } = this.#standing
    return this.#table.of(repository).some(({ digest, publisher }) => digest !== undefined && publisher !== self)
  }

  /** What this node itself has said of a name last. */
  own(repository: string, reference: string): SignedName | undefined {
    return this.#table.latest({ publisher: this.#standing.self, repository, reference })
  }

  /** Who has published anything that is known, whether it counts or not. */
  publishers(): readonly PeerId[] {
    return this.#table.publishers()
  }

  /** What somebody has published, without what was deleted. */
  by(publisher: PeerId): readonly SignedName[] {
    return this.#table.ofPublisher(publisher).filter(({ digest }) => digest !== undefined)
  }

  status(): NamesStatus {
    return namesStatus(this.#table, this.#standing)
  }
}
