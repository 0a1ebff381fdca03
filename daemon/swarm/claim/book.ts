import type { PeerId } from '../peer-id.ts'
import {
  COMPLETE_MS,
  FIRST_TOLERANCE_MS,
  LEASE_MS,
  MAX_CLAIMS,
  MAX_MEMBERS,
  MAX_NAMED,
  MEMBER_MS,
  RACE_MS,
  TOLERANCE_LIMIT_MS,
  TOLERANCE_MS,
} from './constants.ts'

/**
 * What a peer wants of a coordinator:
 * - `nothing`: to be known as one who fetches the content
 * - `if-nobody`: the claim, if nobody has the content or fetches it
 * - `claim`: the claim in any case; who has the content is of no use to it
 * - `done`: it has the content now
 */
export type ClaimWish = 'nothing' | 'if-nobody' | 'claim' | 'done'

export interface ClaimQuestion {
  readonly wish: ClaimWish
  /** How much of the content the asker holds, in chunks. A holder's claim is renewed by this getting more. */
  readonly held: number
}

export interface ClaimAnswer {
  /** `holder`: fetch from upstream; `racer`: fetch one chunk, and ask again; `none`: somebody else does. */
  readonly role: 'holder' | 'racer' | 'none'
  /** Who holds the claim. */
  readonly holder: PeerId | undefined
  /** Others who have the content or fetch it, at most {@link MAX_NAMED}. */
  readonly members: readonly PeerId[]
}

interface Claimant {
  readonly peer: PeerId
  held: number
  /** When it last brought a chunk. */
  progressAt: number
  /** When it last asked. */
  askedAt: number
  /** Whether it has brought a chunk: the first one takes longer. */
  hasProgressed: boolean
}

interface Claim {
  holder: Claimant | undefined
  racer: Claimant | undefined
  /** How long the holder may take for a chunk, in ms. */
  tolerance: number
  /** Who raced and brought nothing, and until when others come first. */
  tired: { readonly peer: PeerId; readonly until: number } | undefined
  readonly members: Map<PeerId, { until: number; isDone: boolean }>
}

/**
 * The claims that one coordinator grants: the first asker fetches the content from upstream, the others are told who does
 * and who else wants it. A holder that is gone or brings nothing loses its claim: to one that is gone at once, to one that is
 * slow by a race for one chunk, so that a slow upstream does not make it wander. In memory; time is the caller's.
 */
export class ClaimBook {
  /** By key, the one asked for longest ago first. */
  readonly #claims = new Map<string, Claim>()
  readonly #random: () => number

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  get size(): number {
    return this.#claims.size
  }

  /** @param now ms of any clock that does not go back */
  ask(key: string, peer: PeerId, { wish, held }: ClaimQuestion, now: number): ClaimAnswer {
    const claim = this.#claims.get(key) ?? newClaim()
    this.#claims.delete(key)
    this.#claims.set(key, claim)
    this.#forgetOldest()
    this.#note(claim, peer, wish, now)
    this.#expire(claim, now)
    const role = this.#decide(claim, peer, wish, held, now)
    return { role, holder: claim.holder?.peer, members: this.#name(claim, peer) }
  }

  /** A peer's connection is gone: what it held is free at once. */
  left(peer: PeerId): void {
    for (const [key, claim] of this.#claims) {
      claim.members.delete(peer)
      if (claim.racer?.peer === peer) claim.racer = undefined
      if (claim.holder?.peer === peer) claim.holder = undefined
      if (claim.members.size === 0) this.#claims.delete(key)
    }
  }

  #decide(claim: Claim, peer: PeerId, wish: ClaimWish, held: number, now: number): ClaimAnswer['role'] {
    const wants = wish === 'claim' || wish === 'if-nobody'
    if (claim.holder?.peer === peer) {
      if (!wants) {
        claim.holder = undefined
        return 'none'
      }
      this.#renew(claim, claim.holder, held, now)
      return 'holder'
    }
    if (claim.racer?.peer === peer) {
      const hasWon = held > claim.racer.held
      if (wants && !hasWon && claim.holder !== undefined) {
        claim.racer.askedAt = now
        return 'racer'
      }
      if (wants) {
        claim.holder = { peer, held, progressAt: now, askedAt: now, hasProgressed: hasWon }
        if (hasWon) claim.tolerance = TOLERANCE_MS
      }
      claim.racer = undefined
      return wants ? 'holder' : 'none'
    }
    if (!wants) return 'none'
    if (claim.holder === undefined) {
      const isElsewhere = [...claim.members].some(([member, { isDone }]) => isDone && member !== peer)
      if (wish === 'if-nobody' && isElsewhere) return 'none'
      claim.holder = { peer, held, progressAt: now, askedAt: now, hasProgressed: false }
      return 'holder'
    }
    const limit = claim.holder.hasProgressed ? claim.tolerance : Math.max(claim.tolerance, FIRST_TOLERANCE_MS)
    if (claim.tired?.peer === peer && now < claim.tired.until) return 'none'
    if (wish !== 'claim' || claim.racer !== undefined || now - claim.holder.progressAt <= limit) return 'none'
    claim.racer = { peer, held, progressAt: now, askedAt: now, hasProgressed: false }
    return 'racer'
  }

  #renew(claim: Claim, holder: Claimant, held: number, now: number): void {
    holder.askedAt = now
    if (held <= holder.held) return
    holder.held = held
    holder.progressAt = now
    holder.hasProgressed = true
    if (claim.racer === undefined) return
    // It was not slower than another one: it is upstream that takes its time.
    claim.racer = undefined
    claim.tolerance = Math.min(claim.tolerance * 2, TOLERANCE_LIMIT_MS)
  }

  #note(claim: Claim, peer: PeerId, wish: ClaimWish, now: number): void {
    const isDone = wish === 'done'
    claim.members.delete(peer)
    claim.members.set(peer, { until: now + (isDone ? COMPLETE_MS : MEMBER_MS), isDone })
    const [oldest] = claim.members.keys()
    if (claim.members.size > MAX_MEMBERS && oldest !== undefined) claim.members.delete(oldest)
  }

  #expire(claim: Claim, now: number): void {
    for (const [peer, { until }] of claim.members) if (until < now) claim.members.delete(peer)
    if (claim.holder !== undefined && now - claim.holder.askedAt > LEASE_MS) claim.holder = undefined
    const { racer } = claim
    if (racer === undefined || (now - racer.askedAt <= LEASE_MS && now - racer.progressAt <= RACE_MS)) return
    claim.racer = undefined
    claim.tired = { peer: racer.peer, until: now + RACE_MS }
  }

  /** The holder, some who have the content, and others at random. */
  #name(claim: Claim, asker: PeerId): PeerId[] {
    const others = [...claim.members].filter(([peer]) => peer !== asker && peer !== claim.holder?.peer)
    const shuffled = others
      .map(([peer, { isDone }]) => ({ peer, order: this.#random() + (isDone ? 0 : 0.5) }))
      .sort((a, b) => a.order - b.order)
      .map(({ peer }) => peer)
    const holder = claim.holder === undefined || claim.holder.peer === asker ? [] : [claim.holder.peer]
    return [...holder, ...shuffled].slice(0, MAX_NAMED)
  }

  #forgetOldest(): void {
    for (const oldest of this.#claims.keys()) {
      if (this.#claims.size <= MAX_CLAIMS) return
      this.#claims.delete(oldest)
    }
  }
}

function newClaim(): Claim {
  return { holder: undefined, racer: undefined, tolerance: TOLERANCE_MS, tired: undefined, members: new Map() }
}
