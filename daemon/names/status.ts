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
  readonly offers: readonly Offer[]
  /** What is pushed by accepted peers in a repository that is somebody else's, and so is no name here. */
  readonly passedOver: readonly (Said & { readonly name: string; readonly owner: PeerId | undefined })[]
}

interface Offer extends Said {
  readonly name: string
  readonly fingerprint: string
  /** How many more the same peer offers, with the last one that is shown. */
  readonly more?: number
}

/** Entries of one kind in the status. */
const maxShown = 100

/** Offers of one peer: nobody's crowd out those of others. */
const maxShownOfPeer = 5

export function namesStatus(table: NameTable, standing: Standing): NamesStatus {
  const conflicts: NamesStatus['conflicts'][number][] = []
  const offers = new Map<PeerId, Offer[]>()
  const passedOver: NamesStatus['passedOver'][number][] = []
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
      for (const one of choice.passedOver) passedOver.push({ name, ...said(one), owner })
      for (const one of choice.offers) {
        const offer = { name, ...said(one), fingerprint: fingerprintOf(one.publisher) }
        offers.set(one.publisher, [...(offers.get(one.publisher) ?? []), offer])
      }
    }
  }
  const shown = {
    conflicts: conflicts.slice(0, maxShown),
    offers: [...offers.values()].flatMap(few).slice(0, maxShown),
    passedOver: passedOver.slice(0, maxShown),
  }
  return { fingerprint: fingerprintOf(standing.self), names, ...shown }
}

function few(offers: readonly Offer[]): readonly Offer[] {
  const last = offers[maxShownOfPeer - 1]
  if (last === undefined || offers.length === maxShownOfPeer) return offers
  return [...offers.slice(0, maxShownOfPeer - 1), { ...last, more: offers.length - maxShownOfPeer }]
}

function said({ publisher, digest, at }: SignedName): Said {
  return { publisher, digest, at }
}
