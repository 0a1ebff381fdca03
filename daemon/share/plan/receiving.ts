import type { PlannedBlob } from './blob.ts'
import type { BlobId, Head, Wish } from './messages.ts'
import type { Neighbour, Receiving } from './neighbour.ts'
import type { State } from './state.ts'

interface Listeners {
  readonly onWhole: (blob: PlannedBlob, chunk: number) => void
  /** A chunk on its way ended before it was whole. */
  readonly onBroken: (blob: PlannedBlob, chunk: number) => void
}

/** The receiving places: whom to ask, when to ask again, and what is late. */
export class ReceivingPlaces {
  readonly #state: State
  readonly #listeners: Listeners
  #lastId = 0

  constructor(state: State, listeners: Listeners) {
    this.#state = state
    this.#listeners = listeners
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    const { receiving, receivedIn, lastByteAt } = this.#state
    const { limit } = receivedIn
    let at = Number.POSITIVE_INFINITY
    for (const { since, isLate, from } of receiving)
      at = Math.min(at, isLate ? Math.max(since, lastByteAt(from.id, 'in')) + limit : since + limit)
    return at
  }

  /** Places that are free. What is late takes none, but for as many as there are places. */
  get #free(): number {
    const { numbers, held, reads, receiving } = this.#state
    const places = Math.min(numbers.places, numbers.startPlaces + held) - reads.size
    let late = 0
    for (const { isLate } of receiving) if (isLate) late++
    return Math.min(places - (receiving.size - late), 2 * numbers.places - receiving.size)
  }

  /** Asks neighbours at random until no place is free, or nobody has anything of use. */
  fill(): void {
    for (let free = this.#free; free > 0; free--) {
      const neighbour = this.#someone()
      if (neighbour === undefined) return
      const { stayChunks } = this.#state.numbers
      const left = Math.max(1, Math.round(stayChunks * (0.5 + this.#state.random())))
      const pair: Receiving = {
        from: neighbour,
        id: 0,
        nextId: 0,
        blob: undefined,
        chunk: 0,
        since: this.#state.now,
        left,
        isLate: false,
        isOldest: false,
      }
      neighbour.receiving = pair
      neighbour.free--
      this.#state.receiving.add(pair)
      pair.id = this.#ask(pair)
    }
  }

  head(from: Neighbour, { id, blob: blobId, chunk, quarter }: Head): void {
    const { blobs, numbers } = this.#state
    const pair = from.receiving
    if (pair === undefined || pair.id !== id || pair.blob !== undefined) return
    const blob = blobs.get(blobId)
    // Two senders chose the same chunk, or it came meanwhile: ask again.
    if (blob === undefined || chunk >= blob.chunks || blob.isWhole(chunk) || blob.coming.has(chunk)) {
      this.#state.send(from, { kind: 'leave', id })
      pair.id = this.#ask(pair)
      return
    }
    pair.blob = blob
    pair.chunk = chunk
    if (!pair.isLate) blob.comes(chunk)
    if (quarter >= numbers.quarters - 1) this.#askAhead(pair)
  }

  /** A part of an answer is verified. */
  quarter(from: Neighbour, id: number, quarter: number): void {
    const pair = from.receiving
    const { now, numbers } = this.#state
    if (pair?.blob === undefined || pair.id !== id) return
    const { blob, chunk } = pair
    blob.movedAt = now
    if (blob.hold(chunk, quarter)) this.#state.hasNews = true
    if (quarter === numbers.quarters - 2) this.#askAhead(pair)
    if (quarter < numbers.quarters - 1) return
    this.#whole(pair)
    this.whole(blob, chunk)
  }

  /** A chunk is whole, from wherever it came: nobody else needs to bring it. */
  whole(blob: PlannedBlob, chunk: number): void {
    this.#state.held++
    for (const other of [...this.#state.receiving])
      if (other.blob === blob && other.chunk === chunk) this.#leave(other)
    this.#listeners.onWhole(blob, chunk)
  }

  /** The neighbour has nothing, or no place. */
  refused(from: Neighbour, id: number, isBusy: boolean): void {
    if (isBusy) from.free = 0
    else from.saidNone = true
    const pair = from.receiving
    if (pair?.id === id) this.#end(pair)
    else if (pair?.nextId === id) pair.nextId = 0
  }

  /** The sender can't go on, or has gone. */
  cut(from: Neighbour, id?: number): void {
    const pair = from.receiving
    if (pair === undefined || (id !== undefined && pair.id !== id)) return
    if (id === undefined || pair.nextId === 0) this.#end(pair)
    else {
      // The next question is answered all the same.
      this.#lose(pair)
      this.#next(pair)
    }
  }

  /** What is late may come from elsewhere as well; what is silent is ended. */
  look(): void {
    const { now, receivedIn, lastByteAt, receiving } = this.#state
    const { limit } = receivedIn
    for (const pair of [...receiving]) {
      if (now < pair.since + limit) continue
      const { from, blob, chunk } = pair
      if (!pair.isLate) {
        pair.isLate = true
        blob?.comesNot(chunk)
      }
      if (now < Math.max(pair.since, lastByteAt(from.id, 'in')) + limit) continue
      from.restsUntil = now + limit * 2 ** Math.min(from.strikes, 16)
      from.strikes++
      this.#leave(pair)
    }
  }

  /** A neighbour, drawn from all that may give something. */
  #someone(): Neighbour | undefined {
    const { neighbours, now, random } = this.#state
    let found: Neighbour | undefined
    let seen = 0
    for (const neighbour of neighbours.values()) {
      const { free, saidNone, restsUntil, receiving } = neighbour
      if (free <= 0 || saidNone || restsUntil > now || receiving !== undefined || !this.#isUseful(neighbour)) continue
      if (random() * ++seen < 1) found = neighbour
    }
    return found
  }

  #isUseful({ views }: Neighbour): boolean {
    const { windowChunks } = this.#state.numbers
    for (const { blob, begun } of views.values())
      if (!blob.isDone && blob.wanted.meets(begun, blob.first, blob.first + windowChunks)) return true
    return false
  }

  #ask(pair: Receiving): number {
    const { from } = pair
    const oldest = this.#oldest(from)
    pair.isOldest = oldest !== undefined
    const id = ++this.#lastId
    this.#state.send(from, { kind: 'ask', id, news: this.#state.newsFor(from), wishes: this.#wishes(from), oldest })
    return id
  }

  #askAhead(pair: Receiving): void {
    if (pair.nextId !== 0 || pair.isLate || --pair.left <= 0 || !this.#isUseful(pair.from)) return
    pair.nextId = this.#ask(pair)
  }

  /** The blob of which the oldest chunk is to be asked for: one question at a time does, while much is held beyond a gap. */
  #oldest({ views }: Neighbour): BlobId | undefined {
    const { receiving, numbers } = this.#state
    for (const pair of receiving) if (pair.isOldest) return undefined
    for (const { blob, begun } of views.values())
      if (!blob.isDone && blob.hasGap(numbers.gapChunks) && blob.wanted.has(blob.first) && begun.has(blob.first))
        return blob.id
    return undefined
  }

  #wishes({ views }: Neighbour): Wish[] {
    const wishes: Wish[] = []
    for (const { blob } of views.values()) {
      if (blob.isDone) continue
      const late: number[] = []
      for (const pair of this.#state.receiving)
        if (pair.blob === blob && pair.isLate && !blob.coming.has(pair.chunk)) late.push(pair.chunk)
      const broken = new Map<number, number>()
      for (const chunk of blob.begun) if (!blob.coming.has(chunk)) broken.set(chunk, blob.partsOf(chunk))
      wishes.push({ blob: blob.id, first: blob.first, coming: [...blob.coming.keys()], late, broken })
    }
    return wishes
  }

  /** The pair goes on with its next question, or parts. */
  #whole(pair: Receiving): void {
    const { from, blob, chunk, isLate, since } = pair
    const { now, receivedIn } = this.#state
    receivedIn.add(now - since)
    from.strikes = 0
    if (isLate) from.restsUntil = now + (now - since)
    else blob?.comesNot(chunk)
    pair.blob = undefined
    if (pair.nextId === 0) this.#end(pair)
    else this.#next(pair)
  }

  #next(pair: Receiving): void {
    pair.blob = undefined
    pair.id = pair.nextId
    pair.nextId = 0
    pair.since = this.#state.now
    pair.isLate = false
  }

  #leave(pair: Receiving): void {
    const { from, id, nextId } = pair
    if (nextId !== 0) this.#state.send(from, { kind: 'leave', id: nextId })
    this.#state.send(from, { kind: 'leave', id })
    this.#end(pair)
  }

  #end(pair: Receiving): void {
    this.#lose(pair)
    this.#state.receiving.delete(pair)
    pair.from.receiving = undefined
  }

  /** What was on its way is lacking again, if it is not whole. */
  #lose({ blob, chunk, isLate }: Receiving): void {
    if (blob === undefined) return
    if (!isLate) blob.comesNot(chunk)
    if (blob.isWhole(chunk) || blob.coming.has(chunk)) return
    for (const neighbour of this.#state.neighbours.values()) neighbour.saidNone = false
    this.#listeners.onBroken(blob, chunk)
  }
}
