import type { PeerId } from '../../swarm/ports.ts'
import { ANSWER_MS, MAX_INTRODUCTIONS, MAX_PEERS, PROVIDER_ANSWER_MS } from './constants.ts'
import { Departed } from './departed.ts'
import type { View } from './view.ts'

/** A peer that is watched for the blob. */
export interface Member {
  readonly id: PeerId
  /** ms of any clock that does not go back. */
  readonly metAt: number
  /** Whether the first lookup found it in time: it has announced the blob, and its answer is waited for. */
  isAwaited: boolean
  /** What it says; undefined until it has answered. */
  view: View | undefined
  /** How often it has introduced itself. */
  introductions: number
}

/** The peers that take part in one attempt. */
export class Members {
  readonly #members = new Map<PeerId, Member>()
  readonly #departed = new Departed()

  get size(): number {
    return this.#members.size
  }

  get(peer: PeerId): Member | undefined {
    return this.#members.get(peer)
  }

  /** Whether a member is still the one that stands for its peer. */
  includes(member: Member): boolean {
    return this.#members.get(member.id) === member
  }

  /** What each of them says that has answered. */
  views(): readonly View[] {
    return [...this.#members.values()].map(({ view }) => view).filter((view) => view !== undefined)
  }

  /**
   * A peer is met.
   * @param limit of members
   * @returns undefined where it takes part already, has left lately, or would be one too many
   */
  meet(peer: PeerId, isAwaited: boolean, limit: number, now: number): Member | undefined {
    const known = this.#members.get(peer)
    if (known !== undefined && isAwaited) known.isAwaited = true
    if (known !== undefined || this.size >= limit || this.#departed.isLately(peer, now)) return undefined
    const member: Member = { id: peer, view: undefined, metAt: now, introductions: 0, isAwaited }
    this.#members.set(peer, member)
    return member
  }

  /** One that has taken back what it said says something else. @returns whether it takes part again */
  readmit(member: Member): boolean {
    if (this.#members.has(member.id)) return false
    if (this.size >= MAX_PEERS || member.introductions >= MAX_INTRODUCTIONS) return false
    this.#members.set(member.id, member)
    return true
  }

  leave(member: Member, now: number): void {
    this.#members.delete(member.id)
    this.#departed.add(member.id, now)
  }

  /** Whether one has not answered yet that may still do so before upstream is asked. */
  isUndecided(now: number): boolean {
    return this.#owes(({ metAt }) => metAt > now - ANSWER_MS)
  }

  /** Whether one that announced the blob has not answered yet: where upstream does not have it, a slow one is better than nobody. */
  awaitsAnswer(now: number): boolean {
    return this.#owes(({ metAt, isAwaited }) => isAwaited && metAt > now - PROVIDER_ANSWER_MS)
  }

  /** All but one peer. */
  others(peer: PeerId): readonly Member[] {
    return [...this.#members.values()].filter(({ id }) => id !== peer)
  }

  #owes(inTime: (member: Member) => boolean): boolean {
    return [...this.#members.values()].some((member) => member.view?.isUsed !== true && inTime(member))
  }
}
