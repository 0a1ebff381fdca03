import { appendFileSync } from 'node:fs'
import { join } from 'node:path'

/** What must not be, with where to look. */
export interface Violation {
  readonly kind: string
  /** Seconds from the start of the run. */
  readonly at: number
  readonly who: string
  readonly text: string
  readonly log: string
}

/** Not more violations than that are kept: what breaks once a second says nothing new after that. */
const MAX_KEPT = 200

/** All that happened, as lines of JSON with the second of the run, and what of it must not be. */
export class Journal {
  readonly violations: Violation[] = []
  readonly file: string
  readonly #folder: string
  readonly #say: (line: string) => void
  #since = performance.now()
  /** Of each kind, also those that were not kept. */
  readonly counts = new Map<string, number>()

  /** @param say prints a line for people */
  constructor(folder: string, say: (line: string) => void = () => {}) {
    this.#folder = folder
    this.#say = say
    this.file = join(folder, 'journal.jsonl')
  }

  /** The fleet is up, and the run begins. */
  begin(): void {
    this.#since = performance.now()
    this.note('the run begins')
  }

  /** Seconds since the start of the run. */
  get now(): number {
    return (performance.now() - this.#since) / 1000
  }

  note(event: string, fields: object = {}): void {
    appendFileSync(this.file, `${JSON.stringify({ at: Number(this.now.toFixed(1)), event, ...fields })}\n`)
  }

  /** @param who a node, `upstream` or `fleet` */
  violate(kind: string, who: string, text: string): void {
    const log = who.startsWith('node') ? join(this.#folder, `${who}.log`) : this.file
    const violation = { kind, at: this.now, who, text, log }
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    if (this.violations.length < MAX_KEPT) this.violations.push(violation)
    this.note('VIOLATION', violation)
    this.#say(`VIOLATION at ${minute(violation.at)}: ${kind}, ${who}: ${text}`)
  }
}

/** As `12:05`. */
export function minute(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`
}
