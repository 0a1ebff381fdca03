import type { PlannedBlob } from './blob.ts'
import type { BlobId, Role, Turn, Want } from './messages.ts'
import type { State } from './state.ts'

/** This node's part in reading one blob from upstream. */
interface Part {
  readonly blob: PlannedBlob
  role: Role
  /** Parts that it has brought from there. */
  brought: number
  /** Parts that the head has brought, as the coordinator says. */
  headBrought: number
  /** Upstream has refused. */
  isUnable: boolean
  /** Of all that wait for news of the blob, which comes first when none comes; 0 up to 1. */
  readonly rank: number
  /** When it began to read the chunk that is under way, in ms. */
  readAt: number
  /** What it told the coordinator last, and when, in ms. */
  told: Want['wish'] | undefined
  toldAt: number
}

/**
 * Upstream is a neighbour that has everything and one sending place for all nodes together, which the coordinator gives away. One
 * rule says when it is filled: the head of the queue reads the first chunk that is neither here, nor on its way in time, nor whole
 * at a neighbour that can be trusted. A node to which others bring nothing new for a while does the same, whatever the coordinator
 * says; but what a neighbour has begun comes last there, as that may be another one who reads.
 */
export class UpstreamPlace {
  readonly #state: State
  readonly #parts = new Map<BlobId, Part>()
  /** What the last chunk that upstream sent took, of whatever blob, in ms. */
  #took = 0

  constructor(state: State) {
    this.#state = state
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    const { now, numbers } = this.#state
    let at = Number.POSITIVE_INFINITY
    for (const part of this.#parts.values()) {
      const { blob, role, toldAt, told } = part
      at = Math.min(at, toldAt + numbers.renewMs)
      if (blob.isDone || role !== 'none') continue
      if (told === 'part') at = Math.min(at, this.#state.quietSince(blob) + numbers.headLateMs)
      const aloneAt = this.#aloneAt(part)
      if (now < aloneAt) at = Math.min(at, aloneAt)
      else if (now < 2 * aloneAt - this.#state.quietSince(blob))
        at = Math.min(at, 2 * aloneAt - this.#state.quietSince(blob))
    }
    return at
  }

  /**
   * When it reads without a turn, in ms, if nothing new comes until then: one node after the other, so that those that come later
   * hear of the chunks of the first. Where upstream is slow, they are waited for as long as they take there.
   */
  #aloneAt({ blob, rank }: Part): number {
    const { numbers, neighbours } = this.#state
    const patience = numbers.patienceMs + rank * neighbours.size * numbers.lateMs
    return this.#state.quietSince(blob) + Math.max(patience, 2 * this.#took)
  }

  /** Takes part in reading these blobs, or gives them to others. */
  add(blobs: readonly PlannedBlob[]): void {
    const { random, now } = this.#state
    for (const blob of blobs) {
      const part = {
        blob,
        role: 'none',
        brought: 0,
        headBrought: 0,
        isUnable: false,
        rank: random(),
        readAt: now,
      } as const
      this.#parts.set(blob.id, { ...part, told: undefined, toldAt: now })
    }
    this.#tell(blobs.map(({ id }) => id))
  }

  drop(blob: PlannedBlob): void {
    this.#stop(blob)
    this.#parts.delete(blob.id)
  }

  /** The coordinator has spoken. */
  turn({ blob: id, role, brought }: Turn): void {
    const part = this.#parts.get(id)
    if (part === undefined) return
    part.role = role
    this.#believe(part, brought)
    if (role === 'none') this.#stop(part.blob)
  }

  /**
   * The coordinator says that the head goes on. That is news like a neighbour's, as long as nearly all that it says is to be seen: a
   * stranger's word holds nobody back for longer than a chunk takes.
   */
  #believe(part: Part, brought: number): void {
    const { blob } = part
    const { quarters } = this.#state.numbers
    if (brought > part.headBrought && brought <= (blob.known + 1) * quarters) blob.movedAt = this.#state.now
    part.headBrought = brought
  }

  /** Upstream does not give the blob. */
  unreadable(id: BlobId): void {
    const part = this.#parts.get(id)
    if (part === undefined) return
    part.isUnable = true
    part.role = 'none'
    this.#end(part.blob)
    this.#tell([id])
  }

  /** A part of a chunk came from upstream. @returns the blob, if the chunk is whole now */
  read(id: BlobId, chunk: number, quarter: number): PlannedBlob | undefined {
    const state = this.#state
    const part = this.#parts.get(id)
    if (part === undefined) return undefined
    const { blob } = part
    const isNew = blob.hold(chunk, quarter)
    if (isNew) state.hasNews = true
    part.brought++
    if (quarter < state.numbers.quarters - 1) {
      this.#tell([id])
      return undefined
    }
    if (state.reads.get(blob) === chunk) {
      state.reads.delete(blob)
      blob.comesNot(chunk)
    }
    this.#took = state.now - part.readAt
    if (part.role === 'racer') part.role = 'none'
    part.readAt = state.now
    this.#tell([id])
    return isNew && blob.isWhole(chunk) ? blob : undefined
  }

  /** A chunk is whole. */
  whole(blob: PlannedBlob, chunk: number): void {
    if (this.#state.reads.get(blob) === chunk) this.#stop(blob)
    if (blob.isDone) this.#tell([blob.id])
  }

  /** Tells the coordinator that this node still takes part, and where nothing comes. */
  look(): void {
    const { now, numbers } = this.#state
    const due: BlobId[] = []
    for (const [id, { blob, toldAt, told, role }] of this.#parts) {
      const isHungry = !blob.isDone && role === 'none' && now >= this.#state.quietSince(blob) + numbers.headLateMs
      if (now >= toldAt + numbers.renewMs || (isHungry && told === 'part')) due.push(id)
    }
    if (due.length > 0) this.#tell(due)
  }

  /** Reads what is to be read. */
  fill(): void {
    const { reads, numbers, now, effects } = this.#state
    for (const part of this.#parts.values()) {
      if (reads.size >= numbers.places) return
      const { blob, role, isUnable } = part
      if (blob.isDone || isUnable || reads.has(blob)) continue
      if (role === 'none' && now < this.#aloneAt(part)) continue
      const chunk = this.#next(blob, this.#respected(part))
      if (chunk === undefined) continue
      part.readAt = now
      reads.set(blob, chunk)
      blob.comes(chunk)
      effects.push({ kind: 'read', blob: blob.id, chunk, quarter: blob.partsOf(chunk) })
    }
  }

  /** What neighbours have that is left to them: what was begun before its reader left may be whole nowhere. */
  #respected(part: Part): 'begun' | 'whole' {
    const isEarly = this.#state.now < 2 * this.#aloneAt(part) - this.#state.quietSince(part.blob)
    return part.role === 'none' && isEarly ? 'begun' : 'whole'
  }

  #next(blob: PlannedBlob, respected: 'begun' | 'whole'): number | undefined {
    for (let chunk = blob.first; chunk < blob.chunks; chunk++)
      if (blob.wanted.has(chunk) && !this.#isAtNeighbour(blob, chunk, respected)) return chunk
    return undefined
  }

  #isAtNeighbour({ id, copies }: PlannedBlob, chunk: number, which: 'begun' | 'whole'): boolean {
    if (copies[chunk] === 0) return false
    for (const { views, isTrusted } of this.#state.neighbours.values())
      if (isTrusted && views.get(id)?.[which].has(chunk) === true) return true
    return false
  }

  #stop(blob: PlannedBlob): void {
    if (this.#state.reads.has(blob)) this.#state.effects.push({ kind: 'unread', blob: blob.id })
    this.#end(blob)
  }

  #end(blob: PlannedBlob): void {
    const chunk = this.#state.reads.get(blob)
    if (chunk === undefined) return
    this.#state.reads.delete(blob)
    blob.comesNot(chunk)
  }

  #tell(ids: readonly BlobId[]): void {
    const { now, numbers, effects } = this.#state
    const wants: Want[] = []
    for (const id of ids) {
      const part = this.#parts.get(id)
      if (part === undefined) continue
      const { blob, brought, isUnable } = part
      const isHungry = part.role === 'none' && now >= this.#state.quietSince(blob) + numbers.headLateMs
      part.told = blob.isDone ? 'done' : isUnable ? 'unable' : isHungry ? 'hungry' : 'part'
      part.toldAt = now
      const sought = blob.isDone ? 0 : Math.max(0, numbers.soughtNeighbours - this.#state.countFor(id))
      wants.push({ blob: id, brought, wish: part.told, sought })
    }
    effects.push({ kind: 'want', wants })
  }
}
