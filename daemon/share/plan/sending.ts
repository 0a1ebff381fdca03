import type { PlannedBlob } from './blob.ts'
import { choose } from './choose.ts'
import type { Ask } from './messages.ts'
import { count, type Neighbour, type Sending, uncount } from './neighbour.ts'
import type { State } from './state.ts'

/**
 * The sending places. A neighbour that has one keeps it as long as its next question comes before the answer to the last one has
 * ended. What is sent is chosen when the line is free for it, and not when the question comes.
 */
export class SendingPlaces {
  readonly #state: State

  constructor(state: State) {
    this.#state = state
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    let at = Number.POSITIVE_INFINITY
    const { limit } = this.#state.sentIn
    for (const { since, isLate, to } of this.#state.sending) {
      const silentAt = () => this.#state.lastByteAt(to.id, 'out') + limit
      at = Math.min(at, isLate ? Math.max(silentAt(), since + 2 * limit) : since + limit)
    }
    return at
  }

  asked(asker: Neighbour, ask: Ask): void {
    const state = this.#state
    const { sending } = asker
    if (sending !== undefined) sending.next = ask
    else if (state.free > 0) this.#answer(asker, ask)
    else {
      state.refused.delete(asker)
      state.refused.add(asker)
      state.send(asker, { kind: 'busy', id: ask.id, news: state.newsFor(asker) })
    }
  }

  /** The answer to a question has left. */
  sent(to: Neighbour, id: number): void {
    const { sending } = to
    if (sending === undefined || sending.id !== id) return
    this.#state.sentIn.add(this.#state.now - sending.since)
    this.#end(sending)
    if (sending.next !== undefined) this.#answer(to, sending.next)
  }

  /** The asker wants no answer to a question, or has gone. */
  leave(to: Neighbour, id?: number): void {
    const { sending } = to
    if (id === undefined) this.#state.refused.delete(to)
    if (sending === undefined) return
    if (sending.next !== undefined && sending.next.id === id) sending.next = undefined
    if (id !== undefined && sending.id !== id) return
    this.#cut(sending)
    if (id !== undefined && sending.next !== undefined) this.#answer(to, sending.next)
  }

  /** The rest of a chunk does not come: whoever waits for it here is told. */
  broken(blob: PlannedBlob, chunk: number): void {
    for (const sending of [...this.#state.sending])
      if (sending.blob === blob && sending.chunk === chunk) this.#break(sending)
  }

  /** Tells a free place to those who were refused, before others hear of it with the next news. */
  offer(): void {
    const { free, refused } = this.#state
    let left = free
    for (const neighbour of refused) {
      if (left-- <= 0) return
      refused.delete(neighbour)
      this.#state.send(neighbour, { kind: 'news', news: this.#state.newsFor(neighbour) })
    }
  }

  /** Ends what is silent; what is late does not count as a copy any more. */
  look(): void {
    const { now, sentIn, lastByteAt, sending: all } = this.#state
    const { limit } = sentIn
    for (const sending of [...all]) {
      const { to, since, blob, chunk } = sending
      if (now < since + limit) continue
      if (!sending.isLate) {
        sending.isLate = true
        const view = to.views.get(blob.id)
        if (view !== undefined) uncount(view, chunk)
      }
      if (now >= since + 2 * limit && now >= lastByteAt(to.id, 'out') + limit) this.#break(sending)
    }
  }

  #answer(to: Neighbour, ask: Ask): void {
    const state = this.#state
    const choice = choose(to, ask, state.blobs, state.numbers.windowChunks)
    if (choice === undefined) {
      state.send(to, { kind: 'none', id: ask.id, news: state.newsFor(to) })
      return
    }
    const { blob, chunk, quarter } = choice
    const sending = { to, id: ask.id, blob, chunk, since: state.now, isLate: false, next: undefined }
    to.sending = sending
    state.sending.add(sending)
    count(to.view(blob), chunk)
    state.send(to, { kind: 'head', id: ask.id, blob: blob.id, chunk, quarter, news: state.newsFor(to) })
    state.effects.push({ kind: 'serve', to: to.id, id: ask.id, blob: blob.id, chunk, quarter })
  }

  #break(sending: Sending): void {
    const { to, id, next } = sending
    this.#state.send(to, { kind: 'cut', id })
    this.#cut(sending)
    if (next !== undefined) this.#answer(to, next)
  }

  #cut(sending: Sending): void {
    const { to, id, blob, chunk } = sending
    const view = to.views.get(blob.id)
    if (view !== undefined) uncount(view, chunk)
    this.#state.effects.push({ kind: 'stop', to: to.id, id })
    this.#end(sending)
  }

  #end(sending: Sending): void {
    this.#state.sending.delete(sending)
    sending.to.sending = undefined
    this.#state.hasNews = true
  }
}
