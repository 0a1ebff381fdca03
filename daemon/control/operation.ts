import type { z } from 'zod'

/** An operation can't be done as it was asked for. The message is for the person who asked, and says what to do. */
export class ControlError extends Error {
  override readonly name = 'ControlError'
}

/** What an operation that takes its time has of the request. */
export interface Call {
  /** Aborts when the client hangs up, when the node stops, and when nothing was told for a long time. */
  readonly signal: AbortSignal
  /** Tells the client of progress. Waits while the client reads slowly. @throws the reason of `signal` */
  send(event: ControlEvent): Promise<void>
}

/** One line of an answer. `done` and `error` are kept for the end. */
export interface ControlEvent {
  readonly event: string
}

type Input<Schema extends z.ZodType> = z.output<Schema>
type Bytes = AsyncIterable<Uint8Array>

/** Something that the control socket can be asked for. */
export type Operation =
  | { readonly kind: 'answer'; run(input: unknown, signal: AbortSignal): Promise<object> }
  | { readonly kind: 'events'; run(input: unknown, call: Call): Promise<object> }
  | { readonly kind: 'upload'; run(input: unknown, body: Bytes, call: Call): Promise<object> }
  | { readonly kind: 'download'; run(input: unknown, signal: AbortSignal): Promise<Bytes> }

export type Operations = Readonly<Record<string, Operation>>

/** An operation that is over at once, with one object. */
export function answers<Schema extends z.ZodType>(
  schema: Schema,
  run: (input: Input<Schema>, signal: AbortSignal) => Promise<object>,
): Operation {
  return { kind: 'answer', run: async (input, signal) => await run(read(schema, input), signal) }
}

/** An operation that takes its time and tells of it. What it returns is told with the event `done`. */
export function tells<Schema extends z.ZodType>(
  schema: Schema,
  run: (input: Input<Schema>, call: Call) => Promise<object>,
): Operation {
  return { kind: 'events', run: async (input, call) => await run(read(schema, input), call) }
}

/** As {@link tells}, of bytes that the client sends. */
export function takes<Schema extends z.ZodType>(
  schema: Schema,
  run: (input: Input<Schema>, body: Bytes, call: Call) => Promise<object>,
): Operation {
  return { kind: 'upload', run: async (input, body, call) => await run(read(schema, input), body, call) }
}

/** An operation whose answer is bytes. What fails before the first of them is told; after it, the connection is cut. */
export function gives<Schema extends z.ZodType>(
  schema: Schema,
  run: (input: Input<Schema>, signal: AbortSignal) => Promise<Bytes>,
): Operation {
  return { kind: 'download', run: async (input, signal) => await run(read(schema, input), signal) }
}

/** @throws {ControlError} with what is wrong, by field */
function read<Schema extends z.ZodType>(schema: Schema, input: unknown): Input<Schema> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'the request'}: ${message}`)
  throw new ControlError(problems.join('; '))
}
