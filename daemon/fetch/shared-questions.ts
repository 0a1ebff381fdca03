import { UpstreamError } from '../../proxy/upstream/types.ts'
import { waitFor } from './wait.ts'

/** How long somebody waits for an answer, and how long a question goes on when nobody does, in ms. Clients give up sooner. */
const LONGEST_MS = 120_000

/** Questions that go on though nobody waits for them any more. One more is given up, and asked anew by whoever wants to know next. */
const MAX_LATE = 32

interface Question<T> {
  readonly answer: Promise<T>
  readonly abort: AbortController
  waiting: number
  /** Ends it where it goes on though nobody waits any more. */
  timer: NodeJS.Timeout | undefined
}

/** A question to upstream, for one of those who ask it. */
export interface Asked<T> {
  /** Also rejected where it was given up. */
  readonly answer: Promise<T>
  /** Waits to the end. @throws the signal's reason, or why there is no answer */
  toEnd(signal: AbortSignal): Promise<T>
  /** This one waits no more. @param isLate whether the answer is of use to those who ask next */
  leave(isLate: boolean): void
}

/**
 * Questions that are asked of upstream once for all who ask in the same moment. A question ends when all of them have gone, unless it is
 * of use later: then it goes on within bounds.
 */
export class SharedQuestions<T> {
  readonly #running = new Map<string, Question<T>>()
  #late = 0

  /** @param ask is called with a signal that no single asker aborts */
  join(key: string, ask: (signal: AbortSignal) => Promise<T>): Asked<T> {
    const question = this.#running.get(key) ?? this.#begin(key, ask)
    question.waiting++
    return {
      answer: question.answer,
      toEnd: async (signal) => {
        const answer = await waitFor(question.answer, LONGEST_MS, signal)
        if (answer === undefined) throw new UpstreamError('unreachable', `there was no answer within ${LONGEST_MS} ms`)
        return answer
      },
      leave: (isLate) => {
        question.waiting--
        if (this.#running.get(key) !== question) return
        if (isLate && question.timer === undefined && this.#late < MAX_LATE) {
          this.#late++
          question.timer = setTimeout(() => this.#end(key, question), LONGEST_MS)
          question.timer.unref()
        }
        if (question.waiting === 0 && question.timer === undefined) this.#end(key, question)
      },
    }
  }

  #begin(key: string, ask: (signal: AbortSignal) => Promise<T>): Question<T> {
    const abort = new AbortController()
    const question: Question<T> = { answer: ask(abort.signal), abort, waiting: 0, timer: undefined }
    this.#running.set(key, question)
    const end = () => this.#end(key, question)
    // Those who wait hear of a failure; where nobody does, it is nobody's concern.
    question.answer.then(end, end)
    return question
  }

  #end(key: string, question: Question<T>): void {
    if (this.#running.get(key) !== question) return
    this.#running.delete(key)
    if (question.timer !== undefined) this.#late--
    clearTimeout(question.timer)
    // Where there is an answer already, this does nothing.
    question.abort.abort(new Error('nobody waits for the answer'))
  }
}
