import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { choose, ownerOf, type Standing } from './choice.ts'
import { fingerprintOf } from './fingerprint.ts'
import { nameOf } from './signed-name.ts'
import type { KnownName, NameTable } from './table.ts'

/** A tag that a peer has pushed. */
export interface PeerOffer {
  /** Without a registry, such as `app:1`. */
  readonly name: string
  readonly digest: Digest
  readonly publisher: PeerId
  readonly fingerprint: string
  /** Whether this is what the name means here; otherwise nothing is pulled by it until its publisher is accepted. */
  readonly isAccepted: boolean
}

/** What peers offer under their names: of each tag what counts here, where that is a peer's, and what would count for others. */
export function peerOffers(table: NameTable, standing: Standing): PeerOffer[] {
  const found: PeerOffer[] = []
  const add = (one: KnownName, isAccepted: boolean) => {
    const { publisher, digest } = one
    if (digest === undefined || publisher === standing.self) return
    found.push({ name: nameOf(one), digest, publisher, fingerprint: fingerprintOf(publisher), isAccepted })
  }
  for (const repository of table.repositories()) {
    const known = table.of(repository)
    const owner = ownerOf(known, standing)
    for (const [reference, said] of Map.groupBy(known, (one) => one.reference)) {
      // A digest is a signature's, or of something else that refers to an image.
      if (reference.includes(':')) continue
      const { name, offers } = choose(said, owner, standing)
      if (name !== undefined) add(name, true)
      for (const offer of offers) add(offer, false)
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)))
}
