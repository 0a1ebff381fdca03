import { join } from 'node:path'
import type { Section } from '../bench.ts'
import { compile } from '../compile.ts'
import { interleave } from '../measure.ts'
import { toRow } from '../report.ts'

const GOAL_S = 1
/** Nobody asks it for anything here. */
const NO_UPSTREAM = 'http://127.0.0.1:9'

/** How soon a node is there after its process is started. */
export const start: Section = {
  name: 'start',
  title: 'from the start of the process until it is ready, from source and compiled',
  async run(bench) {
    const program = await compile(join(bench.folder, 'package'))
    bench.log(`${bench.options.runs} x 2 starts`)
    const timed = async (from?: string) => {
      const began = performance.now()
      await using _ = await bench.startLayerd(NO_UPSTREAM, [], from)
      return (performance.now() - began) / 1000
    }
    const contenders = { source: () => timed(), compiled: () => timed(program) }
    // The first start of each reads thousands of files from the disk.
    await interleave(1, contenders)
    const times = await interleave(bench.options.runs, contenders)
    const goal = { of: 'figure', atMost: GOAL_S } as const
    return [
      toRow({ what: 'start to ready, from source', unit: 's', layerd: times.source, goal }),
      toRow({ what: 'start to ready, compiled', unit: 's', layerd: times.compiled, goal }),
    ]
  },
}
