import type { Clock } from './clock.ts'
import { NUMBERS } from './plan/numbers.ts'
import { Plan } from './plan/plan.ts'
import type { PlanOptions } from './plan/state.ts'
import type { Effect, Event } from './plan/steps.ts'

interface RunnerOptions extends Pick<PlanOptions, 'lastByteAt' | 'isFar' | 'isOpen'> {
  readonly clock: Clock
  readonly onEffect: (effect: Effect) => void
}

/** Runs the plan: tells it what happens, one event after the other, and when time has passed. */
export class Runner {
  readonly plan: Plan
  readonly #clock: Clock
  readonly #onEffect: (effect: Effect) => void
  readonly #events: (Event | readonly Event[])[] = []
  #isRunning = false
  readonly #wake = () => this.step({ kind: 'wake' })
  #isStopped = false

  constructor({ clock, lastByteAt, isFar, isOpen, onEffect }: RunnerOptions) {
    this.plan = new Plan({ numbers: NUMBERS, random: Math.random, lastByteAt, isFar, isOpen })
    this.#clock = clock
    this.#onEffect = onEffect
  }

  /** Something happens. What follows from it is done when this returns, unless it was called out of an effect. */
  step(event: Event | readonly Event[]): void {
    this.#events.push(event)
    if (this.#isRunning || this.#isStopped) return
    this.#isRunning = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift())
        for (const effect of this.plan.step(next, this.#clock.now)) this.#onEffect(effect)
    } finally {
      this.#isRunning = false
    }
    this.#clock.wake(this.#wake, this.plan.wakeAt)
  }

  stop(): void {
    this.#isStopped = true
  }
}
