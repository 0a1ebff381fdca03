import { NUMBERS } from './plan/numbers.ts'
import { Plan } from './plan/plan.ts'
import type { PlanOptions } from './plan/state.ts'
import type { Effect, Event } from './plan/steps.ts'

interface RunnerOptions extends Pick<PlanOptions, 'lastByteAt' | 'isFar'> {
  readonly onEffect: (effect: Effect) => void
}

/** Runs the plan: tells it what happens, one event after the other, and when time has passed. */
export class Runner {
  readonly plan: Plan
  readonly #onEffect: (effect: Effect) => void
  readonly #events: (Event | readonly Event[])[] = []
  #isRunning = false
  #timer: NodeJS.Timeout | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #isStopped = false

  constructor({ lastByteAt, isFar, onEffect }: RunnerOptions) {
    this.plan = new Plan({ numbers: NUMBERS, random: Math.random, lastByteAt, isFar })
    this.#onEffect = onEffect
  }

  /** Something happens. What follows from it is done when this returns, unless it was called out of an effect. */
  step(event: Event | readonly Event[]): void {
    this.#events.push(event)
    if (this.#isRunning || this.#isStopped) return
    this.#isRunning = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift())
        for (const effect of this.plan.step(next, performance.now())) this.#onEffect(effect)
    } finally {
      this.#isRunning = false
    }
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** A timer that is too early costs a step; one that is set anew for each event costs more. */
  #schedule(): void {
    const at = this.plan.wakeAt
    if (at >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(
      () => {
        this.#timerAt = Number.POSITIVE_INFINITY
        this.step({ kind: 'wake' })
      },
      Math.max(1, Math.ceil(at - performance.now())),
    )
  }
}
