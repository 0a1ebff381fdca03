import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { randomFrom } from '../unit/share/wire/samples.ts'
import { input } from './mutate.ts'
import type { Target } from './target.ts'

/** Longest time for one input in ms, also where the machine has much else to do: it is tried again before it counts. */
const MAX_INPUT_MS = 1_000

/** Memory that a parser may keep after all its inputs, in bytes. */
const MAX_KEPT_BYTES = 32 * 2 ** 20

/** Pause after a garbage collection, in ms. */
const COLLECT_MS = 50

/** Inputs between two turns of the event loop, in which rejections that nobody handles are heard of. */
const INPUTS_OF_TURN = 500

interface RunOptions {
  readonly seed: number
  /** Number of the first input; 0 where it is left out. */
  readonly from?: number
  /** At most. */
  readonly inputs: number
  /** Ends after this time; never where it is left out. */
  readonly ms?: number | undefined
}

interface Result {
  readonly inputs: number
  readonly ms: number
  /** The slowest input, in ms. */
  readonly slowest: number
  /** Bytes on the heap more than before. */
  readonly kept: number
}

/** A parser has failed with an input, which the message says how to make again. */
export class FuzzError extends Error {}

/** Gives a parser inputs. @throws {FuzzError} with the first one that it fails with */
export async function fuzz(
  target: Target,
  { seed, from = 0, inputs, ms = Number.POSITIVE_INFINITY }: RunOptions,
): Promise<Result> {
  const { name, corpus, words = [], run } = target
  let last: Buffer | undefined
  let done = 0
  const fail = (cause: unknown) => {
    const shown = last === undefined ? '' : `${last.length} bytes: ${last.toString('base64').slice(0, 400)}`
    const again = `npm run fuzz -- --only ${name} --seed ${seed} --from ${from + done} --inputs 1`
    return new FuzzError(`${name} failed with input ${from + done} (${again}), ${shown}`, { cause })
  }
  // Not one promise that all inputs are raced against: it would keep something of each.
  let stray: { readonly error: unknown } | undefined
  let running = Promise.withResolvers<unknown>()
  const onStray = (error: unknown) => {
    stray ??= { error }
    running.reject(error)
  }
  running.promise.catch(() => {})
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray)
  const heap = await collected()
  const started = performance.now()
  let slowest = 0
  try {
    while (done < inputs && performance.now() - started < ms) {
      const random = randomFrom(mix(seed, from + done))
      last = input(random, corpus, words)
      const fixed = last
      const began = performance.now()
      try {
        const result = run(fixed, random)
        if (result instanceof Promise) {
          running = Promise.withResolvers()
          result.then(running.resolve, running.reject)
          await running.promise
        }
        if (stray !== undefined) throw stray.error
        slowest = Math.max(slowest, performance.now() - began)
        if (performance.now() - began > MAX_INPUT_MS) await again(() => run(fixed, random))
      } catch (error) {
        throw error instanceof FuzzError ? error : fail(error)
      }
      done++
      if (done % INPUTS_OF_TURN === 0) await nextTurn()
    }
    await nextTurn()
    if (stray !== undefined) throw fail(stray.error)
  } finally {
    process.off('unhandledRejection', onStray).off('uncaughtException', onStray)
  }
  const kept = (await collected()) - heap
  if (kept > MAX_KEPT_BYTES) throw new FuzzError(`${name} keeps ${kept} bytes after ${done} inputs`)
  return { inputs: done, ms: performance.now() - started, slowest, kept }
}

/** Something else may have held the machine up. @throws {Error} where it is slow each time */
async function again(run: () => unknown): Promise<void> {
  for (let tries = 0; tries < 2; tries++) {
    const began = performance.now()
    await run()
    if (performance.now() - began <= MAX_INPUT_MS) return
  }
  throw new Error(`it takes more than ${MAX_INPUT_MS} ms`)
}

/** A seed for one input: any of them can be made without those before it. */
function mix(seed: number, index: number): number {
  return (Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(index + 1, 0xc2b2_ae35)) | 0
}

/** Bytes on the heap that are in use. Memory of buffers is given back in the background. */
async function collected(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let times = 0; times < 3; times++) {
    collect()
    await delay(COLLECT_MS)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
