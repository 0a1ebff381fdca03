import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const SETTLE_STEP_MS = 50
/** So long without a byte is the end: a cache goes on with its own fetch after its clients have gone. */
const SETTLED_STEPS = 6
const SETTLE_DEADLINE_MS = 60_000
/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Largest resident set of a process since it started, in bytes (proc(5), `VmHWM`). */
export async function peakMemory(pid: number): Promise<number> {
  return 1024 * (await numberIn(`/proc/${pid}/status`, /^VmHWM:\s+(\d+) kB$/m))
}

/** Seconds of CPU time that a process has taken so far, its own and the kernel's (proc(5), `utime` and `stime`). */
export async function cpuSeconds(pid: number): Promise<number> {
  // the name of the program, in parentheses, may have anything in it
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/**
 * Bytes that a process has written so far, to sockets and files alike, as soon as their number stops growing: `wchar` of
 * proc(5), which counts write(2) and sendfile(2). Of a registry that writes no log and takes no uploads these are the bytes
 * of its responses.
 */
export async function settledBytes(pid: number): Promise<number> {
  const until = performance.now() + SETTLE_DEADLINE_MS
  let bytes = await writtenBytes(pid)
  for (let quiet = 0; quiet < SETTLED_STEPS; quiet++) {
    if (performance.now() > until) throw new Error(`process ${pid} still writes after ${SETTLE_DEADLINE_MS} ms`)
    await sleep(SETTLE_STEP_MS)
    const now = await writtenBytes(pid)
    if (now !== bytes) quiet = -1
    bytes = now
  }
  return bytes
}

function writtenBytes(pid: number): Promise<number> {
  return numberIn(`/proc/${pid}/io`, /^wchar: (\d+)$/m)
}

async function numberIn(file: string, pattern: RegExp): Promise<number> {
  const text = await readFile(file, 'utf8')
  const number = pattern.exec(text)?.[1]
  if (number === undefined) throw new Error(`${file}: nothing matches ${pattern}`)
  return Number(number)
}
