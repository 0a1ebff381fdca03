import type { LogEntry } from '../plan/messages.ts'
import { MAX_CHUNKS, MAX_LOG_ENTRIES } from './limits.ts'
import { type Reader, WireError } from './reader.ts'
import type { Writer } from './writer.ts'

/**
 * A log is written as runs of chunks, in ascending order, and a 0. A run is a header,
 * 1 + 4 x (chunks since the end of the last run) + 2 x (whole?) + (several?), and for several the number of chunks less 2.
 */
const SEVERAL = 1
const WHOLE = 2
const PER_GAP = 4
/** The smallest gap and the flags make 0, which is the end of the runs. */
const OFFSET = 1
const MAX_HEADER = OFFSET + PER_GAP * MAX_CHUNKS + WHOLE + SEVERAL

/** What the log being written says of each chunk; nothing between two logs. */
const marks = new Uint8Array(MAX_CHUNKS)
const nothing = 0
const begun = 1
const whole = 2

/** A chunk that has begun and is whole is told as whole. Chunks that no blob has are left out. */
export function writeLog(writer: Writer, log: readonly LogEntry[]): void {
  let first = MAX_CHUNKS
  let last = -1
  for (const entry of log) {
    const chunk = entry < 0 ? ~entry : entry
    if (chunk >= MAX_CHUNKS) continue
    if (entry < 0) marks[chunk] = whole
    else if (marks[chunk] === nothing) marks[chunk] = begun
    if (chunk < first) first = chunk
    if (chunk > last) last = chunk
  }
  let told = 0
  let start = first
  while (start <= last) {
    const mark = marks[start]
    let end = start
    while (end <= last && marks[end] === mark) marks[end++] = nothing
    if (mark !== nothing) {
      writeRun(writer, start - told, end - start, mark === whole)
      told = end
    }
    start = end
  }
  writer.varint(0)
}

function writeRun(writer: Writer, gap: number, length: number, isWhole: boolean): void {
  writer.varint(OFFSET + PER_GAP * gap + (isWhole ? WHOLE : 0) + (length > 1 ? SEVERAL : 0))
  if (length > 1) writer.varint(length - 2)
}

/** Reads the logs of one message, which share a bound. */
export class LogReader {
  readonly #reader: Reader
  #left = MAX_LOG_ENTRIES

  constructor(reader: Reader) {
    this.#reader = reader
  }

  /**
   * @param isKnown whether anybody needs this log; otherwise its entries are only counted
   * @returns each chunk once, in ascending order
   */
  read(isKnown: boolean): LogEntry[] {
    const log: LogEntry[] = []
    let at = 0
    for (;;) {
      const header = this.#reader.varint(MAX_HEADER, 'run')
      if (header === 0) return log
      const run = header - OFFSET
      const start = at + Math.floor(run / PER_GAP)
      const length = (run & SEVERAL) === 0 ? 1 : 2 + this.#reader.varint(MAX_CHUNKS, 'run')
      at = start + length
      if (at > MAX_CHUNKS) throw new WireError(`a run ends at chunk ${at - 1}, which no blob has`)
      this.#left -= length
      this.#reader.expand(length)
      if (this.#left < 0) throw new WireError(`a message tells of more than ${MAX_LOG_ENTRIES} chunks`)
      if (!isKnown) continue
      const isWhole = (run & WHOLE) !== 0
      for (let chunk = start; chunk < at; chunk++) log.push(isWhole ? ~chunk : chunk)
    }
  }
}
