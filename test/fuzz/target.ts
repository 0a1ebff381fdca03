/** 0 up to 1. */
export type Random = () => number

/** A parser, and what must hold of it whatever it is given. */
export interface Target {
  readonly name: string
  /** Valid inputs, most made by the encoders themselves; a few hundred bytes each. */
  readonly corpus: readonly Buffer[]
  /** Words of the format, for mutations. */
  readonly words?: readonly string[]
  /**
   * Parses an input. What the parser documents to throw is caught here.
   * @throws whatever else it throws, and an error of node:assert where the result is not what it should be
   */
  readonly run: (input: Buffer, random: Random) => unknown
}

/** Whether a parser took an input; only errors that are said to be its own pass as a no. */
export function taken<T>(parse: () => T, isDocumented: (error: unknown) => boolean): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (!isDocumented(error)) throw error
    return undefined
  }
}

/** Errors of the language are faults of the parser, and no answers. */
export function isPlain(error: unknown): boolean {
  const faults = [TypeError, RangeError, ReferenceError, SyntaxError]
  return error instanceof Error && !faults.some((fault) => error instanceof fault)
}

/** Cuts bytes into pieces at random. */
export function pieces(bytes: Buffer, random: Random): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + Math.floor(random() ** 3 * (bytes.length - at))
    all.push(Buffer.from(bytes.subarray(at, at + length)))
    at += length
  }
  return all
}

export const text = (...all: readonly string[]): Buffer[] => all.map((one) => Buffer.from(one))
