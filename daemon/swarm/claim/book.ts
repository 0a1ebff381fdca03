import type { PeerId } from '../peer-id.ts'
import {
  COMPLETE_MS,
  COMPLETED_MS,
  FIRST_TOLERANCE_MS,
  LEASE_MS,
  MAX_CLAIMS,
  MAX_CLAIMS_OF_PEER,
  MAX_MEMBERS,
  MAX_NAMED,
  MAX_TIRED,
  MEMBER_MS,
  RACE_MS,
  TOLERANCE_LIMIT_MS,
  TOLERANCE_MS,
} from './constants.ts'
import { Roster } from './roster.ts'

/**
 * What a peer wants of a coordinator:
 * - `nothing`: to be known as one who fetches the content
 * - `if-nobody`: the claim, if nobody has the content, fetches it, or is known as one who wants to
 * - `starved`: the claim, but not where its holder has just completed the content, which then is on its way
 * - `claim`: the claim in any case; who has the content is of no use to it
 * - `done`: it has the content now
 */
export type ClaimWish = 'nothing' | 'if-nobody' | 'starved' | 'claim' | 'done'

export interface ClaimQuestion {
  readonly wish: ClaimWish
  /** How much of the content the asker has brought from upstream, in chunks. A holder's claim is renewed by this getting more. */
  readonly held: number
}

export interface ClaimAnswer {
  /** `holder`: fetch from upstream; `racer`: fetch one chunk, and ask again; `none`: somebody else does. */
  readonly role: 'holder' | 'racer' | 'none'
  /** Who holds the claim. */
  readonly holder: PeerId | undefined
  /** Chunks that it has brought from upstream so far. */
  readonly brought?: number | undefined
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
  /** Whether any holder has brought a chunk. */
  hasProgressed: boolean
  /** When a holder first told that it has all. */
  completedAt: number | undefined
  /** Who raced and brought nothing, and until when others come first; the one who did so first at the front. */
  readonly tired: Map<PeerId, number>
  /** Members: those who fetch the content, and those who have it. */
  readonly fetching: Roster
  readonly done: Roster
}

/**
 * The claims that one coordinator grants: the first asker fetches the content from upstream, the others are told who does
 * and who else wants it. A holder that is gone or brings nothing loses its claim: to one that is gone at once, to one that is
 * slow by a race for one chunk, so that a slow upstream does not make it wander. In memory; time is the caller's.
 */
export class ClaimBook {
  /** By key, the one asked for longest ago first. */
  readonly #claims = new Map<string, Claim>()
  /** The claims that each peer is a member of, the one that it asked for longest ago first; and peers in that order. */
  readonly #keys = new Map<PeerId, Set<string>>()
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
    this.#note(key, claim, peer, wish, now)
    this.#expire(key, claim, now)
    this.#bound(peer, now)
    const role = this.#decide(claim, peer, wish, held, now)
    const { holder } = claim
    return {
      role,
      holder: holder?.peer,
      ...(holder === undefined ? {} : { brought: holder.held }),
      members: this.#name(claim, peer),
    }
  }

  /** A peer's connection is gone: what it held is free at once. */
  left(peer: PeerId): void {
    for (const key of [...(this.#keys.get(peer) ?? [])]) this.#drop(key, peer)
  }

  #decide(claim: Claim, peer: PeerId, wish: ClaimWish, held: number, now: number): ClaimAnswer['role'] {
    const wants = wish !== 'nothing' && wish !== 'done'
    const isElsewhere = claim.done.size > (claim.done.has(peer) ? 1 : 0)
    // Once only: what one that completed it may not share, or can't send, the next one who completes it may not either.
    const isOnItsWay = isElsewhere && claim.completedAt !== undefined && now - claim.completedAt < COMPLETED_MS
    if (claim.holder?.peer === peer) {
      if (!wants) {
        claim.holder = undefined
        if (wish === 'done') claim.completedAt ??= now
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
      const { progressAt } = claim.racer
      if (!wants || (claim.holder === undefined && isOnItsWay)) {
        if (hasWon) claim.racer = undefined
        else endRace(claim, now)
        return 'none'
      }
      claim.racer = undefined
      grant(claim, { peer, held, progressAt: now, askedAt: now, hasProgressed: hasWon })
      // Where upstream is slow for all, it is chance who brings a chunk first.
      if (hasWon) bear(claim, now - progressAt)
      return 'holder'
    }
    if (!wants) return 'none'
    if (claim.holder === undefined) {
      // Who fetches it already has a list of checkpoints to go on with, and asks soon; else this one asks again.
      const isCarriedOn = isElsewhere || (claim.hasProgressed && claim.fetching.size > 1)
      if ((wish === 'if-nobody' && isCarriedOn) || (wish === 'starved' && isOnItsWay)) return 'none'
      grant(claim, { peer, held, progressAt: now, askedAt: now, hasProgressed: false })
      return 'holder'
    }
    const limit = claim.holder.hasProgressed ? claim.tolerance : Math.max(claim.tolerance, FIRST_TOLERANCE_MS)
    if (now < (claim.tired.get(peer) ?? now)) return 'none'
    if (wish === 'if-nobody' || claim.racer !== undefined || now - claim.holder.progressAt <= limit) return 'none'
    claim.racer = { peer, held, progressAt: now, askedAt: now, hasProgressed: false }
    return 'racer'
  }

  #renew(claim: Claim, holder: Claimant, held: number, now: number): void {
    holder.askedAt = now
    if (held <= holder.held) return
    const took = (now - holder.progressAt) / (held - holder.held)
    if (holder.hasProgressed && took < TOLERANCE_MS / 2) claim.tolerance = TOLERANCE_MS
    holder.held = held
    holder.progressAt = now
    holder.hasProgressed = true
    claim.hasProgressed = true
    if (claim.racer === undefined) return
    // It was not slower than another one: it is upstream that takes its time.
    claim.racer = undefined
    bear(claim, took)
  }

  #note(key: string, claim: Claim, peer: PeerId, wish: ClaimWish, now: number): void {
    const { fetching, done } = claim
    const [into, from] = wish === 'done' ? [done, fetching] : [fetching, done]
    from.delete(peer)
    into.add(peer, now)
    const keys = this.#keys.get(peer) ?? new Set()
    this.#keys.delete(peer)
    this.#keys.set(peer, keys)
    keys.delete(key)
    keys.add(key)
    const oldest = fetching.oldest ?? done.oldest
    if (membersOf(claim) > MAX_MEMBERS && oldest !== undefined) this.#drop(key, oldest)
  }

  #expire(key: string, claim: Claim, now: number): void {
    for (const roster of [claim.fetching, claim.done]) for (const peer of roster.expired(now)) this.#drop(key, peer)
    if (claim.holder !== undefined && now - claim.holder.askedAt > LEASE_MS) claim.holder = undefined
    const { racer } = claim
    if (racer === undefined || (now - racer.askedAt <= LEASE_MS && now - racer.progressAt <= RACE_MS)) return
    // One that still asks was not faster than the holder, and a third one would only slow both down.
    if (now - racer.askedAt <= LEASE_MS) bear(claim, RACE_MS)
    endRace(claim, now)
  }

  /** The holder, some who have the content, and others at random. */
  #name(claim: Claim, asker: PeerId): PeerId[] {
    const holder = claim.holder?.peer
    const draw = (roster: Roster, count: number) =>
      roster
        .sample(count + 2, this.#random)
        .filter((peer) => peer !== asker && peer !== holder)
        .slice(0, count)
    const done = draw(claim.done, MAX_NAMED)
    const half = Math.ceil(claim.done.size / 2)
    const others = draw(claim.fetching, MAX_NAMED)
    const first = holder === undefined || holder === asker ? [] : [holder]
    // Half of those who have it before others, so that these are known to each other as well.
    return [...first, ...done.slice(0, half), ...others, ...done.slice(half)].slice(0, MAX_NAMED)
  }

  /** A peer is no member of a claim any more; with the last one it goes. */
  #drop(key: string, peer: PeerId): void {
    const keys = this.#keys.get(peer)
    keys?.delete(key)
    if (keys?.size === 0) this.#keys.delete(peer)
    const claim = this.#claims.get(key)
    if (claim === undefined) return
    claim.fetching.delete(peer)
    claim.done.delete(peer)
    if (claim.racer?.peer === peer) endRace(claim, claim.racer.askedAt)
    if (claim.holder?.peer === peer) claim.holder = undefined
    if (membersOf(claim) === 0) this.#claims.delete(key)
  }

  /** What a peer asks for costs its own claims before those of others. */
  #bound(peer: PeerId, now: number): void {
    const own = this.#keys.get(peer)
    const [oldest] = own ?? []
    if (own !== undefined && own.size > MAX_CLAIMS_OF_PEER && oldest !== undefined) this.#drop(oldest, peer)
    if (this.#claims.size <= MAX_CLAIMS) return
    const [longestAgo] = this.#claims
    if (longestAgo !== undefined) this.#expire(...longestAgo, now)
    if (this.#claims.size > MAX_CLAIMS) this.#forget(this.#leastMissed())
  }

  /** Of the peer that is a member of the most claims one that nobody else wants, else the one that it asked for longest ago. */
  #leastMissed(): string | undefined {
    let busiest = new Set<string>()
    for (const keys of this.#keys.values()) if (keys.size > busiest.size) busiest = keys
    const [oldest] = busiest
    for (const key of busiest) {
      const claim = this.#claims.get(key)
      if (claim === undefined || membersOf(claim) === 1) return key
    }
    return oldest
  }

  #forget(key: string | undefined): void {
    const claim = key === undefined ? undefined : this.#claims.get(key)
    if (key === undefined || claim === undefined) return
    for (const peer of [...claim.fetching, ...claim.done]) this.#drop(key, peer)
  }
}

function grant(claim: Claim, holder: Claimant): void {
  claim.holder = holder
  claim.hasProgressed ||= holder.held > 0
}

/** The racer has brought nothing: others come first for a time. */
function endRace(claim: Claim, now: number): void {
  const { racer, tired } = claim
  claim.racer = undefined
  if (racer === undefined) return
  tired.delete(racer.peer)
  tired.set(racer.peer, now + Math.max(RACE_MS, claim.tolerance))
  const [first] = tired.keys()
  if (first !== undefined && tired.size > MAX_TIRED) tired.delete(first)
}

/** A race costs up to a chunk: the next one is begun later. */
function bear(claim: Claim, took: number): void {
  claim.tolerance = Math.min(Math.max(claim.tolerance, took) * 2, TOLERANCE_LIMIT_MS)
}

function membersOf({ fetching, done }: Claim): number {
  return fetching.size + done.size
}

function newClaim(): Claim {
  return {
    holder: undefined,
    racer: undefined,
    tolerance: TOLERANCE_MS,
    hasProgressed: false,
    completedAt: undefined,
    tired: new Map(),
    fetching: new Roster(MEMBER_MS),
    done: new Roster(COMPLETE_MS),
  }
}
