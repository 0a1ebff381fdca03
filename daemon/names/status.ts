import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId, SignedName } from '../swarm/ports.ts'
import { choose, ownerOf, type Standing } from './choice.ts'
import { fingerprintOf } from './fingerprint.ts'
import { nameOf } from './signed-name.ts'
import type { NameTable } from './table.ts'

/** What somebody says that a name is. */
interface Said {
  readonly publisher: PeerId
  readonly digest: Digest | undefined
  /** ms since the epoch, by the publisher's clock. */
  readonly at: number
}

/** What an operator is told of names. */
export interface NamesStatus {
  /** Of this node, to be compared by people. */
  readonly fingerprint: string
  /** Tags and referrers that count here. */
  readonly names: number
  /** Names of which several say different things who all count. */
  readonly conflicts: readonly { readonly name: string; readonly used: Said; readonly others: readonly Said[] }[]
  /** What is pushed by peers that are not accepted here. */
  readonly offers: readonly (Said & { readonly name: string; readonly fingerprint: string })[]
}

/** Conflicts and offers in the status, each. */
const maxShown = 100

export function namesStatus(table: NameTable, standing: Standing): NamesStatus {
  const conflicts: NamesStatus['conflicts'][number][] = []
  const offers: NamesStatus['offers'][number][] = []
  let names = 0
  for (const repository of table.repositories()) {
    const known = table.of(repository)
    const owner = ownerOf(known, standing)
    for (const [reference, all] of Map.groupBy(known, (one) => one.reference)) {
      const choice = choose(all, owner, standing)
      const name = nameOf({ repository, reference })
      if (choice.name !== undefined) names++
      if (choice.name !== undefined && choice.conflicts.length > 0)
        conflicts.push({ name, used: said(choice.name), others: choice.conflicts.map(said) })
      for (const one of choice.offers) offers.push({ name, ...said(one), fingerprint: fingerprintOf(one.publisher) })
    }
  }
  const shown = { conflicts: conflicts.slice(0, maxShown), offers: offers.slice(0, maxShown) }
  return { fingerprint: fingerprintOf(standing.self), names, ...shown }
}

function said({ publisher, digest, at }: SignedName): Said {
  return { publisher, digest, at }
}
