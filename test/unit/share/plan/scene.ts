import type { Ask, LogEntry, Message, News, Role, Want } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS, type Numbers } from '../../../../daemon/share/plan/numbers.ts'
import { Plan } from '../../../../daemon/share/plan/plan.ts'
import type { Effect, Event, NewBlob } from '../../../../daemon/share/plan/steps.ts'

export const CHUNKS = 64
export const LAST = NUMBERS.quarters - 1

/** A plan with one blob `b`, and time that the test sets. */
export class Scene {
  now = 0
  bytesAt = Number.NEGATIVE_INFINITY
  effects: Effect[] = []
  readonly plan: Plan

  constructor(
    held: readonly number[] = [],
    numbers: Partial<Numbers> = {},
    blobs: Readonly<Record<string, number>> = { b: CHUNKS },
    isFar?: (peer: string) => boolean,
    isOpen = false,
  ) {
    // Upstream is not read without a turn but in the tests about that.
    const patienceMs = 600_000
    this.plan = new Plan({
      numbers: { ...NUMBERS, patienceMs, ...numbers },
      random: () => 0,
      lastByteAt: () => this.bytesAt,
      isFar,
      isOpen,
    })
    const isWanted = true
    this.add(...Object.entries(blobs).map(([blob, chunks]) => ({ blob, chunks, held, isWanted })))
  }

  add(...blobs: NewBlob[]): Effect[] {
    return this.step({ kind: 'blobs', blobs })
  }

  step(event: Event | readonly Event[]): Effect[] {
    this.effects = [...this.plan.step(event, this.now)]
    return this.effects
  }

  hear(from: string, message: Message): Effect[] {
    return this.step({ kind: 'message', from, message })
  }

  /** Neighbours that have these chunks whole, and free places. */
  meet(peer: string, chunks: readonly number[], free = 4): Effect[] {
    return this.hear(peer, { kind: 'news', news: news(chunks, free) })
  }

  at(ms: number): Effect[] {
    this.now = ms
    return this.step({ kind: 'wake' })
  }

  sent<K extends Message['kind']>(kind: K, to?: string): Extract<Message, { kind: K }>[] {
    return this.effects
      .filter((effect) => effect.kind === 'send' && (to === undefined || effect.to === to))
      .map((effect) => (effect.kind === 'send' ? effect.message : undefined))
      .filter((message): message is Extract<Message, { kind: K }> => message?.kind === kind)
  }

  /** What was sent, in short, in the last step. */
  get said(): string[] {
    return this.effects.flatMap((effect) => (effect.kind === 'send' ? [`${effect.message.kind} to ${effect.to}`] : []))
  }

  /** Whom the last step asked. */
  get asked(): string[] {
    return this.effects.flatMap((effect) =>
      effect.kind === 'send' && effect.message.kind === 'ask' ? [effect.to] : [],
    )
  }

  get reads(): number[] {
    return this.effects.flatMap((effect) => (effect.kind === 'read' ? [effect.chunk] : []))
  }

  get served(): string[] {
    return this.effects.flatMap((effect) => (effect.kind === 'serve' ? [`${effect.chunk} to ${effect.to}`] : []))
  }

  get wants(): Want[] {
    return this.effects.flatMap((effect) => (effect.kind === 'want' ? effect.wants : []))
  }

  /** A whole chunk comes as the answer to a question. */
  bring(from: string, id: number, chunk: number): Effect[] {
    this.head(from, id, chunk)
    return this.quarters(from, id)
  }

  turn(role: Role, brought = 0, members: readonly string[] = []): Effect[] {
    return this.step({ kind: 'turn', turn: { blob: 'b', role, head: undefined, brought, members } })
  }

  /** A whole chunk comes from upstream. @returns what is read then */
  read(chunk: number): number[] {
    const all: Effect[] = []
    for (let quarter = 0; quarter <= LAST; quarter++)
      all.push(...this.step({ kind: 'read', blob: 'b', chunk, quarter }))
    this.effects = all
    return this.reads
  }

  head(from: string, id: number, chunk: number, quarter = 0): Effect[] {
    return this.hear(from, { kind: 'head', id, blob: 'b', chunk, quarter, news: news([], 4) })
  }

  /** Parts of an answer come. @returns all effects */
  quarters(from: string, id: number, first = 0, last = LAST): Effect[] {
    const all: Effect[] = []
    for (let quarter = first; quarter <= last; quarter++) all.push(...this.step({ kind: 'quarter', from, id, quarter }))
    this.effects = all
    return all
  }
}

export function news(whole: readonly LogEntry[], free: number): News {
  return { free, blobs: [{ blob: 'b', log: whole.map((chunk) => ~chunk) }] }
}

export function ask(id: number, wish: Partial<Ask['wishes'][number]> = {}, more: Partial<Ask> = {}): Ask {
  const wishes = [{ blob: 'b', first: 0, coming: [], late: [], broken: new Map(), ...wish }]
  return { kind: 'ask', id, news: news([], 4), wishes, oldest: undefined, ...more }
}

export const all = Array.from({ length: CHUNKS }, (_, chunk) => chunk)
