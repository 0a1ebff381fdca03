import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { startCache, startDirect } from './baselines.ts'
import type { Bed } from './bed.ts'
import { startBittorrent } from './bittorrent.ts'
import { type FleetCase, fluidLimit, type Rates, titleOf } from './case.ts'
import type { Contender, World } from './contender.ts'
import { Lan } from './lan.ts'
import { startLayerd } from './layerd.ts'
import type { ContenderName, Options } from './options.ts'
import { measureRates } from './rates.ts'
import { FleetRegistry } from './registry.ts'
import { type RunResult, runOnce } from './run.ts'

/** A layerd that takes longer than so many limits has failed; as many as nodes is what no layerd at all would take. */
const LAYERD_GIVE_UP = 25

const STARTS: Readonly<Record<ContenderName, (world: World) => Promise<Contender>>> = {
  layerd: startLayerd,
  direct: startDirect,
  cache: startCache,
  bittorrent: startBittorrent,
}

export interface CaseResult {
  title: string
  case: FleetCase
  /** Bytes of the image. */
  size: number
  /** Bytes a second. */
  rates: Rates
  /** The least time that it can take, in ms. */
  limit: number
  contenders: { name: ContenderName; runs: RunResult[] }[]
  failures: string[]
}

/**
 * Builds the network of a case, measures its links, and runs the contenders on it in turn (A B A B).
 *
 * @throws Error where the network can't be built or measured; a contender that fails is a failure in the result.
 */
export async function measureCase(bed: Bed, fleetCase: FleetCase, options: Options): Promise<CaseResult> {
  const { tools, image, data } = bed
  const title = titleOf(fleetCase)
  const folder = join(bed.folder, 'case')
  const log = (line: string) => console.error(`${title}: ${line}`)
  await mkdir(folder)
  try {
    await using lan = await Lan.create(tools, fleetCase)
    await using upstream = await FleetRegistry.start({ tools, lan, host: lan.upstream, folder, data })
    log('measuring the links')
    const rates = await measureRates({ tools, lan, fleetCase, image, data, folder, upstream })
    const seconds = fluidLimit(fleetCase, image.size, rates)
    const result: CaseResult = {
      ...{ title, case: fleetCase, size: image.size, rates, limit: 1000 * seconds },
      contenders: contendersOf(fleetCase, options).map((name) => ({ name, runs: [] })),
      failures: [],
    }
    for (let round = 1; round <= options.runs; round++) {
      for (const { name, runs } of result.contenders) {
        log(`${name}${options.runs > 1 ? `, run ${round}` : ''}, which takes ${seconds.toFixed(1)} s at least`)
        const own = join(folder, 'run')
        // The working folder is what survives the jail.
        const logs = resolve('logs', title.replaceAll(/[^0-9a-z]+/gi, '-'), `${name}-${round}`)
        await mkdir(own)
        await mkdir(logs, { recursive: true })
        const world: World = { ...bed, fleetCase, lan, upstream, folder: own, logs, log }
        const giveUp = name === 'layerd' ? LAYERD_GIVE_UP : options.giveUp
        try {
          const run = await runOnce({ world, start: STARTS[name], limit: result.limit, giveUp })
          runs.push(run)
          result.failures.push(...run.failures.map((failure) => `${name}: ${failure}`))
        } catch (error) {
          result.failures.push(`${name}: ${error instanceof Error ? error.message : error}`)
        }
        await rm(own, { recursive: true, force: true, maxRetries: 3 })
      }
    }
    return result
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Nobody's death would tell anything about the others. */
function contendersOf({ kill }: FleetCase, { contenders }: Options): readonly ContenderName[] {
  return kill ? contenders.filter((name) => name === 'layerd') : contenders
}
