import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

const BAD: ReadonlySet<unknown> = new Set(['warn', 'error', 'fatal'])

/** Warnings and errors in the log of a node, and how often each came. Lines that are not JSON are no log lines, and worth a look. */
export async function warningsIn(file: string, counts: Map<string, number>): Promise<void> {
  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1)
  for await (const line of createInterface({ input: createReadStream(file) })) {
    try {
      const { level, msg, err } = JSON.parse(line) as { level: string; msg: string; err?: { message?: string } }
      const cause = err?.message === undefined ? '' : `: ${general(err.message)}`
      if (BAD.has(level)) count(`${level}: ${general(msg)}${cause}`)
    } catch {
      if (line.trim() !== '') count(`not a log line: ${general(line)}`)
    }
  }
}

/** Without what is different each time. */
function general(text: string): string {
  return text
    .replace(/sha256:[0-9a-f]{64}/g, 'DIGEST')
    .replace(/\b12D3\w+/g, 'PEER')
    .replace(/\/[\w./-]*\/(node\d+)\/[\w./-]*/g, 'PATH')
    .replace(/\d+(\.\d+)*/g, 'N')
    .slice(0, 200)
}
