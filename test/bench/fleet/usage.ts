import { readFileSync } from 'node:fs'

/** In /proc, on every Linux. */
const TICKS_PER_SECOND = 100

/** Seconds of CPU that a process and the children that it has waited for have used; undefined when it is gone. */
function cpuSeconds(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name, in parentheses, may hold spaces. After it come the fields from the third on; proc(5) counts from 1.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const times = [14, 15, 16, 17].map((field) => Number(fields[field - 3]))
    return times.reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_SECOND
  } catch {
    return undefined
  }
}

/** Bytes that a process has written so far, `wchar` of proc(5); undefined when it is gone. */
export function writtenBytes(pid: number): number | undefined {
  try {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

/** What processes use of the CPU from now on. Of one that ends, what was seen at the last sample counts. */
export class CpuMeter {
  readonly #used = new Map<number, { start: number; last: number }>()

  constructor(pids: readonly number[]) {
    for (const pid of pids) {
      const now = cpuSeconds(pid) ?? 0
      this.#used.set(pid, { start: now, last: now })
    }
  }

  sample(): void {
    for (const [pid, used] of this.#used) used.last = cpuSeconds(pid) ?? used.last
  }

  /** Seconds of all the given processes together. */
  total(pids: readonly number[]): number {
    return pids.reduce((sum, pid) => {
      const used = this.#used.get(pid)
      return sum + (used ? used.last - used.start : 0)
    }, 0)
  }
}

/** What became of the whole machine's CPU time since it was made. */
export class MachineMeter {
  readonly #start = machineTimes()

  /**
   * The share that was left, what the kernel took for packets, and what other programs took, 0 to 1 each.
   *
   * @param own seconds of CPU that the bench and all that it runs have used
   */
  shares(own: number): { idle: number; packets: number; others: number } {
    const now = machineTimes()
    const since = (name: keyof typeof now) => now[name] - this.#start[name]
    // The kernel's work on packets is partly in the processes' times: others may have taken a little more than this.
    const others = since('all') - since('idle') - since('packets') - own * TICKS_PER_SECOND
    const share = (ticks: number) => Math.max(0, ticks / since('all'))
    return { idle: share(since('idle')), packets: share(since('packets')), others: share(others) }
  }
}

function machineTimes(): { idle: number; packets: number; all: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return {
    idle: idle + iowait,
    packets: irq + softirq,
    all: user + nice + system + idle + iowait + irq + softirq + steal,
  }
}
