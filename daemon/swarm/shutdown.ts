import type { Logger } from 'pino'

/** No step may take longer, so that the whole ends in about three seconds even where libp2p hangs. */
const STEP_MS = 1500
const TOTAL_MS = 3000

/** Stops in reverse order of start what was started, each step and all together within a bound. */
export class Shutdown {
  readonly #steps: { readonly name: string; readonly stop: () => unknown }[] = []
  readonly #log: Logger

  constructor(log: Logger) {
    this.#log = log
  }

  add(name: string, stop: () => unknown): void {
    this.#steps.push({ name, stop })
  }

  async run(): Promise<void> {
    const end = performance.now() + TOTAL_MS
    for (const { name, stop } of this.#steps.splice(0).reverse()) {
      try {
        await within(Promise.resolve().then(stop), Math.min(STEP_MS, Math.max(end - performance.now(), 0)))
      } catch (error) {
        this.#log.warn({ part: name, err: error }, 'a part of the swarm did not stop in order')
      }
    }
  }
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`not done within ${Math.round(ms)} ms`)), ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
