/** What a node has started, so that it is stopped in the opposite order, once. */
export class Lifecycle {
  readonly #steps: (() => unknown)[] = []
  readonly #background = new AbortController()
  #stopping: Promise<void> | undefined

  get isStopping(): boolean {
    return this.#stopping !== undefined
  }

  /** Adds a step to what `stop` does before all steps that were added earlier. */
  onStop(step: () => unknown): void {
    this.#steps.push(step)
  }

  /** Starts work that goes on until the node stops; `stop` waits for its end. Its failure does not end the node. */
  inBackground(work: (signal: AbortSignal) => Promise<void>, onFailure: (error: unknown) => void): void {
    const running = work(this.#background.signal).catch(onFailure)
    this.onStop(() => running)
  }

  /** Every step is done, whatever the others do. @throws AggregateError with what failed */
  stop(): Promise<void> {
    this.#stopping ??= this.#runSteps()
    return this.#stopping
  }

  async #runSteps(): Promise<void> {
    this.#background.abort(new Error('the node is stopping'))
    const failures: unknown[] = []
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '))
  }
}
