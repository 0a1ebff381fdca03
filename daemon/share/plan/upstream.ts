import type { PlannedBlob } from './blob.ts'
import type { BlobId, Turn, Want } from './messages.ts'
import { believe, newPart, type Part } from './part.ts'
import { whatIsLeft } from './site.ts'
import type { State } from './state.ts'

/**
 * Upstream is a neighbour that has everything and one sending place for all nodes together, which the coordinator gives away. One
 * rule says when it is filled: the head of the queue reads the first chunk that is neither here, nor on its way in time, nor whole
 * at a neighbour that can be trusted. A node to which others bring nothing new for a while does the same, whatever the coordinator
 * says; but what a neighbour has begun comes last there, as that may be another one who reads. Once nothing has come for much longer,
 * what neighbours say that they have holds nobody back. In an open swarm a node that is behind lets upstream race strangers for one
 * chunk, whatever they say. The race shows what upstream takes, whoever is first: nobody can make it look slower than it is.
 */
export class UpstreamPlace {
  readonly #state: State
  /** The rest of a chunk does not come from upstream. */
  readonly #onBroken: (blob: PlannedBlob, chunk: number) => void
  /** Of the blobs that are not done. */
  readonly #parts = new Map<BlobId, Part>()

  constructor(state: State, onBroken: (blob: PlannedBlob, chunk: number) => void) {
    this.#state = state
    this.#onBroken = onBroken
  }

  /** Whether a blob that is wanted is left to others at present, though upstream may give it, and this node has a place to read it. */
  get isLeft(): boolean {
    const { reads, numbers } = this.#state
    if (reads.size >= numbers.places) return false
    for (const { blob, isUnable } of this.#parts.values())
      if (blob.isShared && !isUnable && reads.chunkOf(blob) === undefined) return true
    return false
  }

  /** When {@link look} is to be called, in ms. Nothing is told again, and nothing read, of blobs that are not wanted now. */
  get wakeAt(): number {
    const { numbers } = this.#state
    let at = this.#state.reads.wakeAt
    for (const part of this.#parts.values()) {
      const { blob, role, toldAt, told } = part
      if (!blob.isShared) continue
      at = Math.min(at, toldAt + numbers.renewMs)
      const quietSince = this.#state.quietSince(blob)
      if (role === 'none' && told === 'part') at = Math.min(at, quietSince + numbers.headLateMs)
      const patiences = this.#patiences(part)
      if (patiences < 3) at = Math.min(at, quietSince + (patiences + 1) * this.#patience(part))
    }
    return at
  }

  /**
   * How long it waits for something new, in ms, before it reads without a turn: one node after the other, so that those that come
   * later hear of the chunks of the first. Where lines are slow, it waits for as long as chunks take.
   */
  #patience({ blob, rank }: Part): number {
    const { numbers, reads, receivedIn } = this.#state
    const inTurn = numbers.patienceMs + rank * blob.neighbours * numbers.lateMs
    return Math.max(inTurn, reads.limit, receivedIn.limit)
  }

  /** For how often this long nothing new has come; 3 for any longer time. Compared, not divided: at {@link wakeAt} it has come. */
  #patiences(part: Part): number {
    const { now } = this.#state
    const quietSince = this.#state.quietSince(part.blob)
    const patience = this.#patience(part)
    for (let times = 3; times > 0; times--) if (now >= quietSince + times * patience) return times
    return 0
  }

  /** Takes part in reading these blobs, or gives them to others. */
  add(blobs: readonly PlannedBlob[]): void {
    const { random, now } = this.#state
    for (const blob of blobs) this.#parts.set(blob.id, newPart(blob, random(), now))
    this.#tell(blobs)
    for (const blob of blobs) if (blob.isDone) this.#parts.delete(blob.id)
  }

  /** A blob is wanted now. Time without news of it begins. @param isOffered whether a neighbour said that it has all of it */
  wanted(blob: PlannedBlob, isOffered: boolean): void {
    blob.movedAt = this.#state.now
    blob.cameAt = this.#state.now
    const part = this.#parts.get(blob.id)
    if (part !== undefined) part.isOffered = isOffered
    this.#tell([blob])
  }

  /** The size of a blob is known now, and perhaps some chunks are held. */
  sized(blob: PlannedBlob): void {
    const chunk = this.#state.reads.chunkOf(blob)
    if (chunk !== undefined && blob.isWhole(chunk)) this.stop(blob)
    if (blob.isDone) this.#done(blob)
  }

  /** Nobody else may know of the blob: the coordinator is told that this node takes no turn, and it reads all by itself. */
  alone(blob: PlannedBlob): void {
    if (blob.isDone) this.add([blob])
    else this.#tell([blob])
  }

  drop(blob: PlannedBlob): void {
    this.stop(blob)
    this.#tell([blob], 'gone')
    this.#parts.delete(blob.id)
  }

  /** The coordinator has spoken. */
  turn({ blob: id, role, far = 'none', brought }: Turn): void {
    const part = this.#parts.get(id)
    if (part === undefined || part.blob.isAlone) return
    part.role = role
    part.far = far
    this.#cross(part)
    const { now, numbers, arrears } = this.#state
    if (believe(part, brought, numbers.quarters)) part.blob.movedAt = now
    // What is read without a turn goes on. In an open swarm all goes on to the end of its chunk: a stranger's word ends no race.
    if (role === 'none' && this.#patiences(part) === 0 && arrears === undefined) this.stop(part.blob)
  }

  /** Upstream does not give the blob. */
  unreadable(id: BlobId): void {
    const part = this.#parts.get(id)
    if (part === undefined) return
    part.isUnable = true
    part.blob.isUnreadable = true
    part.role = 'none'
    this.#end(part.blob)
    this.#tell([part.blob])
  }

  /** Upstream may give it again: turns are waited for anew. */
  readable(id: BlobId): void {
    const part = this.#parts.get(id)
    if (part === undefined || !part.isUnable) return
    part.isUnable = false
    part.blob.isUnreadable = false
    part.blob.movedAt = this.#state.now
    this.#state.arrears?.forgive()
    this.#tell([part.blob])
  }

  /** A part of a chunk came from upstream, asked for or not. @returns the blob, if the chunk is whole now */
  read(id: BlobId, chunk: number, quarter: number): PlannedBlob | undefined {
    const state = this.#state
    const part = this.#parts.get(id)
    if (part === undefined || !part.blob.isSized || chunk >= part.blob.chunks) return undefined
    const { blob } = part
    const isNew = blob.hold(chunk, quarter)
    if (isNew) state.hasNews = true
    blob.cameAt = state.now
    part.brought++
    if (quarter >= state.numbers.quarters - 1 && state.reads.chunkOf(blob) === chunk) this.#came(part)
    const isWhole = isNew && blob.isWhole(chunk)
    // Where chunks take long, others hear that it goes on. That all is done is told when the chunk is taken for whole.
    const isDue = isWhole || state.now >= part.toldAt + state.numbers.lateMs
    if (isDue && !blob.isDone) this.#tell([blob])
    return isWhole ? blob : undefined
  }

  /** A chunk came that can't be verified yet. */
  raw(id: BlobId, chunk: number): void {
    const part = this.#parts.get(id)
    if (part === undefined || chunk >= part.blob.chunks) return
    if (this.#state.reads.chunkOf(part.blob) === chunk) this.#came(part)
    part.blob.holdRaw(chunk)
  }

  /** The chunk that was asked of upstream is here. */
  #came(part: Part): void {
    this.#state.reads.came(part.blob, this.#state.now)
    if (part.role === 'racer') part.role = 'none'
  }

  /** A chunk is whole. */
  whole(blob: PlannedBlob, chunk: number): void {
    const { reads, now, numbers } = this.#state
    reads.beaten(blob, chunk, now)
    if (reads.chunkOf(blob) === chunk) this.stop(blob)
    if (blob.isDone) this.#done(blob)
    else {
      const part = this.#parts.get(blob.id)
      if (part !== undefined && blob.crossed >= part.toldCrossed + numbers.quarters) this.#tell([blob])
    }
  }

  #done(blob: PlannedBlob): void {
    if (!blob.isAlone) this.#tell([blob])
    this.#parts.delete(blob.id)
  }

  /** Tells the coordinator that this node still takes part, and where nothing comes. */
  look(): void {
    const { now, numbers, reads } = this.#state
    reads.look(now)
    const due: PlannedBlob[] = []
    for (const part of this.#parts.values()) {
      const { blob, toldAt, told } = part
      if (!blob.isShared) continue
      this.#cross(part)
      if (now >= toldAt + numbers.renewMs || (told === 'part' && this.#isHungry(part))) due.push(blob)
    }
    if (due.length > 0) this.#tell(due)
  }

  #isHungry({ blob, role }: Part): boolean {
    const { now, numbers } = this.#state
    return role === 'none' && now >= this.#state.quietSince(blob) + numbers.headLateMs
  }

  /** Other sites are like upstream: whoever has the turn there leaves to its own site what is there; the others do so for a while. */
  #cross(part: Part): void {
    if (this.#state.isFar === undefined) return
    part.blob.isSiteHead = part.far === 'head'
    part.blob.leftToSite = whatIsLeft(part.far, this.#patiences(part))
  }

  /** Reads what is to be read. */
  fill(): void {
    const { reads, numbers, now, effects } = this.#state
    for (const part of this.#parts.values()) {
      if (reads.size >= numbers.places) return
      const { blob, isUnable } = part
      if (!blob.isWanted || isUnable || reads.chunkOf(blob) !== undefined) continue
      const respected = this.#respected(part)
      const chunk = respected === undefined ? undefined : this.#state.firstNotAtNeighbours(blob, respected)
      if (chunk === undefined) continue
      reads.begin(blob, chunk, now, respected === 'nothing')
      effects.push({ kind: 'read', blob: blob.id, chunk, quarter: blob.partsOf(chunk) })
    }
  }

  /**
   * What neighbours have that is left to them; undefined where all is. What was begun before its reader left may be whole nowhere, and
   * a neighbour may say that it has what it never gives.
   */
  #respected(part: Part): 'begun' | 'whole' | 'nothing' | undefined {
    const { isBehind, reads } = this.#state
    // One race at a time: where upstream is slower than strangers, more would only make it slower for all.
    if (isBehind && reads.size === 0) return 'nothing'
    const patiences = this.#patiences(part)
    if (patiences >= 3) this.#state.doubt(part.blob)
    if (part.role !== 'none' || part.blob.isAlone || patiences >= 2) return 'whole'
    return patiences >= 1 ? 'begun' : undefined
  }

  /** Nothing more of it is read. */
  stop(blob: PlannedBlob): void {
    if (this.#state.reads.chunkOf(blob) === undefined) return
    this.#state.effects.push({ kind: 'unread', blob: blob.id })
    this.#end(blob)
  }

  #end(blob: PlannedBlob): void {
    const { reads } = this.#state
    const chunk = reads.chunkOf(blob)
    reads.end(blob)
    if (chunk !== undefined && !blob.isWhole(chunk) && !blob.coming.has(chunk)) this.#onBroken(blob, chunk)
  }

  #tell(blobs: readonly PlannedBlob[], wish?: 'gone'): void {
    const { now, numbers, wants } = this.#state
    for (const blob of blobs) {
      const part = this.#parts.get(blob.id)
      if (part === undefined) continue
      part.told = wish ?? this.#wishOf(part)
      part.toldAt = now
      const seeks = part.told !== 'gone' && !blob.isDone && !blob.isAlone
      const sought = seeks ? Math.max(0, numbers.soughtNeighbours - blob.neighbours) : 0
      const want: Want = { blob: blob.id, brought: part.brought, wish: part.told, sought }
      part.toldCrossed = blob.crossed
      const mayCross = this.#state.isFar !== undefined && seeks && blob.isWanted
      wants.set(blob.id, mayCross ? { ...want, far: blob.crossed } : want)
      const at = this.#canWait(part) ? now + numbers.newsMs : now
      this.#state.wantsAt = Math.min(this.#state.wantsAt, at)
    }
  }

  /**
   * Whether nobody waits for what the coordinator is told, or answers: a neighbour has the whole blob. Then it is told with what other
   * blobs give to tell: small blobs that come one after the other cost a message for all, and not three for each.
   */
  #canWait({ blob, role, far, told, isOffered }: Part): boolean {
    if (role !== 'none' || far !== 'none' || (told !== 'part' && told !== 'done')) return false
    return blob.isSized ? this.#state.isWholeAtNeighbour(blob) : isOffered
  }

  #wishOf(part: Part): Want['wish'] {
    const { blob, isUnable } = part
    if (blob.isAlone) return 'unable'
    if (blob.isDone) return 'done'
    if (!blob.isWanted) return 'soon'
    if (isUnable) return 'unable'
    return this.#isHungry(part) ? 'hungry' : 'part'
  }
}
