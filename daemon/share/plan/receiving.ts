import type { PlannedBlob } from './blob.ts'
import type { Head } from './messages.ts'
import type { Answer, Neighbour, Receiving } from './neighbour.ts'
import { isUseful, mayNameChunk, oldestOf, wishesOf } from './question.ts'
import { isLeftToSite } from './site.ts'
import type { State } from './state.ts'
import { drawSomeone, hasUntried } from './whom.ts'

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
  /** Since a part came last: answers that ended in silence, and those that were late before anything of them came. */
  #silent = 0
  #late = 0
  /** When a neighbour that could give something may be asked again, while a place is free; in ms. */
  #askableAt = Number.POSITIVE_INFINITY

  constructor(state: State, listeners: Listeners) {
    this.#state = state
    this.#listeners = listeners
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    const { receiving, receivedIn, lastByteAt } = this.#state
    const { limit } = receivedIn
    let at = this.#askableAt
    for (const { answers, from } of receiving) {
      const [answer] = answers
      if (answer === undefined) continue
      const { since, isLate } = answer
      const silentAt = Math.max(since, lastByteAt(from.id, 'in')) + limit
      at = Math.min(at, silentAt, isLate ? silentAt : since + this.#limit(from))
    }
    return at
  }

  /** Places that are free. What is late takes none, but for as many as there are places. */
  get #free(): number {
    const { numbers, reads, receiving } = this.#state
    const places = Math.min(numbers.places, this.#state.places + this.#more) - reads.places
    let late = 0
    for (const { answers } of receiving) if (answers[0]?.isLate) late++
    return Math.min(places - (receiving.size - late), 2 * numbers.places - receiving.size)
  }

  /**
   * Each stranger that gives nothing opens one more place, so that others are tried sooner; and where upstream gives nothing, each late one.
   * Members of a closed swarm are slow or gone, but don't lie.
   */
  get #more(): number {
    if (this.#state.arrears === undefined) return 0
    for (const { isUnreadable } of this.#state.askedFor) if (!isUnreadable) return this.#silent
    return Math.max(this.#silent, this.#late)
  }

  /** Asks neighbours at random until no place is free, or nobody has anything of use. */
  fill(): void {
    this.#askAll()
    const state = this.#state
    const isBusy = this.#isBusy
    if (isBusy || state.isBusy) state.busyAt = state.now
    state.isBusy = isBusy
  }

  /** Whether neighbours' chunks come in every place: this node could take no more. The word of one that gives nothing does not count. */
  get #isBusy(): boolean {
    const { places, receiving } = this.#state
    let coming = 0
    for (const { answers, from } of receiving)
      if (from.isTrusted && answers[0]?.blob !== undefined && !answers[0].isLate) coming++
    return coming >= places
  }

  #askAll(): void {
    this.#askableAt = Number.POSITIVE_INFINITY
    if (this.#state.askedFor.size === 0) return
    for (let free = this.#free; free > 0; free--) {
      const { found: from, askableAt } = drawSomeone(this.#state)
      this.#askableAt = askableAt
      if (from === undefined) return
      const { numbers, random, receiving } = this.#state
      const left = Math.max(1, Math.round(numbers.stayChunks * (0.5 + random())))
      const pair: Receiving = { from, answers: [], left }
      from.receiving = pair
      from.free--
      receiving.add(pair)
      this.#ask(pair)
    }
  }

  /** The head of an answer is here: this chunk comes next. */
  head(from: Neighbour, { id, blob: blobId, chunk, quarter }: Head): void {
    const { blobs, numbers } = this.#state
    const pair = from.receiving
    const answer = pair?.answers.find((one) => one.id === id)
    if (pair === undefined || answer === undefined || answer.blob !== undefined) return
    const blob = blobs.get(blobId)
    const fits = blob?.isAskedFor === true && from.views.has(blobId) && quarter <= blob.partsOf(chunk)
    const isLeft = fits && from.isFar && isLeftToSite(this.#state, blob, chunk)
    if (!fits || isLeft || chunk >= blob.chunks || blob.isWhole(chunk) || blob.coming.has(chunk)) {
      // Two senders chose the same chunk, or it came meanwhile: ask again. That wins no time for one that always says so.
      pair.answers = pair.answers.filter((one) => one !== answer)
      this.#state.send(from, { kind: 'leave', id })
      this.#ask(pair, answer.since)
      return
    }
    answer.blob = blob
    answer.chunk = chunk
    if (!answer.isLate) blob.comes(chunk)
    if (quarter >= numbers.quarters - 1) this.#askAhead(pair)
  }

  /** A part of an answer is verified. */
  quarter(from: Neighbour, id: number, quarter: number): void {
    const { now, numbers } = this.#state
    const pair = from.receiving
    const answer = pair?.answers.find((one) => one.id === id)
    if (pair === undefined || answer?.blob === undefined) return
    const { blob, chunk } = answer
    answer.hasBegun = true
    this.#silent = 0
    this.#late = 0
    if (blob.hold(chunk, quarter)) {
      blob.movedAt = now
      blob.cameAt = now
      const view = from.views.get(blob.id)
      if (view !== undefined) view.hasGiven = true
      this.#state.hasNews = true
      this.#state.arrears?.came(!blob.hasCome, this.#state.reads.chunkMs)
      blob.hasCome = true
      if (from.isFar) blob.crossed++
    }
    if (quarter === numbers.quarters - 2) this.#askAhead(pair)
    if (quarter < numbers.quarters - 1) return
    if (!blob.isWhole(chunk)) {
      // It left parts out.
      this.#leave(pair, answer)
      return
    }
    this.#came(pair, answer)
    this.whole(blob, chunk)
  }

  /** A chunk is whole, from wherever it came: nobody else needs to bring it. */
  whole(blob: PlannedBlob, chunk: number): void {
    this.#state.held++
    this.#state.sort(blob)
    for (const pair of [...this.#state.receiving])
      for (const answer of pair.answers) if (answer.blob === blob && answer.chunk === chunk) this.#leave(pair, answer)
    this.#listeners.onWhole(blob, chunk)
  }

  /** The neighbour has nothing, or no place. */
  refused(from: Neighbour, id: number, isBusy: boolean): void {
    if (from.receiving?.answers.find((one) => one.id === id)?.blob === undefined) this.cut(from, id)
    else this.broken(from, id)
    if (isBusy) from.free = 0
    else from.saidNone = true
  }

  /** The neighbour can't go on with an answer. One whose head was here is followed by a rest; one of which nothing came is as good as silence. */
  broken(from: Neighbour, id: number): void {
    const { now, receivedIn } = this.#state
    const answer = from.receiving?.answers.find((one) => one.id === id)
    if (answer !== undefined) {
      if (answer.hasBegun) from.restsUntil = now + receivedIn.limit
      else this.#strike(from)
    }
    this.cut(from, id)
  }

  /** An answer does not come, or not to its end; all of them where the neighbour has gone. */
  cut(from: Neighbour, id?: number): void {
    const pair = from.receiving
    if (pair === undefined) return
    for (const answer of pair.answers) if (id === undefined || answer.id === id) this.#end(pair, answer)
  }

  /** What is late may come from elsewhere as well; what is silent is ended. */
  look(): void {
    const { now, numbers, receivedIn, lastByteAt, receiving } = this.#state
    const { limit } = receivedIn
    for (const pair of [...receiving]) {
      const [answer] = pair.answers
      if (answer === undefined) continue
      const { blob, chunk, since } = answer
      const { from } = pair
      if (!answer.isLate && now >= since + this.#limit(from)) {
        answer.isLate = true
        if (!answer.hasBegun) this.#late++
        blob?.comesNot(chunk)
      }
      if (now < Math.max(since, lastByteAt(from.id, 'in')) + limit) continue
      this.#strike(from)
      this.#part(pair)
    }
    // Late ones whose bytes trickle may leave no place: the one that was asked first makes room, and rests for as long as it took.
    if (receiving.size < 2 * numbers.places) return
    for (const pair of receiving) {
      const [answer] = pair.answers
      if (answer?.isLate !== true) continue
      pair.from.restsUntil = 2 * now - answer.since
      this.#part(pair)
      return
    }
  }

  #part(pair: Receiving): void {
    for (const one of [...pair.answers].reverse()) this.#leave(pair, one)
  }

  /** When an answer is late, in ms. All from other sites share one line, and what is late there would cross it once more. */
  #limit({ isFar, took }: Neighbour): number {
    const { receivedIn, reads, numbers, isBehind } = this.#state
    // What strangers took until now is no measure of what may be waited for. Upstream is one, once a race with it has shown its pace.
    let limit = isBehind && reads.chunkMs > 0 ? Math.min(receivedIn.limit, reads.limit) : receivedIn.limit
    // Nor is it for one that has given no chunk, while there are some that were never tried: those who were may be slow on purpose.
    if (took === 0 && hasUntried(this.#state)) limit = Math.min(limit, numbers.lateMs)
    return isFar ? numbers.places * limit : limit
  }

  /** It gave nothing: it rests for twice as long each time. */
  #strike(from: Neighbour): void {
    const { now, receivedIn } = this.#state
    this.#silent++
    from.restsUntil = now + receivedIn.limit * 2 ** Math.min(from.strikes, 16)
    from.strikes++
  }

  #ask(pair: Receiving, since = this.#state.now): void {
    const state = this.#state
    const { from } = pair
    from.isTried = true
    const oldest = oldestOf(state, from)
    const id = ++this.#lastId
    pair.answers.push({
      id,
      blob: undefined,
      chunk: 0,
      since,
      isLate: false,
      hasBegun: false,
      isOldest: oldest !== undefined,
    })
    state.send(from, { kind: 'ask', id, news: state.newsFor(from), wishes: wishesOf(state, from), oldest })
  }

  /** The last part of a chunk begins: the next chunk is asked for, unless the pair parts. */
  #askAhead(pair: Receiving): void {
    if (pair.answers.length > 1 || pair.answers[0]?.isLate || --pair.left <= 0) return
    if (isUseful(this.#state, pair.from, mayNameChunk(this.#state))) this.#ask(pair)
  }

  /** A chunk came from a neighbour. */
  #came(pair: Receiving, answer: Answer): void {
    const { from } = pair
    const { now, receivedIn, receiving } = this.#state
    const took = now - answer.since
    receivedIn.add(took)
    from.took = took / receiving.size
    from.strikes = 0
    if (answer.isLate) from.restsUntil = now + took
    this.#end(pair, answer)
  }

  #leave(pair: Receiving, answer: Answer): void {
    this.#state.send(pair.from, { kind: 'leave', id: answer.id })
    this.#end(pair, answer)
  }

  /** An answer has ended; with the last one the pair parts. */
  #end(pair: Receiving, answer: Answer): void {
    const { now, receiving } = this.#state
    pair.answers = pair.answers.filter((one) => one !== answer)
    for (const next of pair.answers) next.since = now
    if (pair.answers.length === 0) {
      receiving.delete(pair)
      pair.from.receiving = undefined
    }
    this.#lose(answer)
  }

  /** What was on its way is lacking again, if it is not whole. */
  #lose({ blob, chunk, isLate }: Answer): void {
    if (blob === undefined) return
    if (!isLate) blob.comesNot(chunk)
    if (blob.isWhole(chunk) || blob.coming.has(chunk)) return
    for (const neighbour of this.#state.neighbours.values()) neighbour.saidNone = false
    this.#listeners.onBroken(blob, chunk)
  }
}
