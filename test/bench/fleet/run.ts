import { median } from '../measure.ts'
import { peakMemory } from '../proc.ts'
import type { Contender, World } from './contender.ts'
import { sentFrames } from './lan.ts'
import { hasEnded, Race, type RaceResult } from './race.ts'

export interface RunResult extends RaceResult {
  /** Milliseconds of the last and of the middle one of the nodes that are neither slow nor killed, where all finished. */
  last?: number
  median?: number
  /** Bytes from upstream: content as upstream accounts for it, and frames on its link. */
  upstream: { content: number; frames: number }
  /** Bytes from one site to the other: content as nodes account for it, and frames on the line. */
  between?: { content: number | undefined; frames: number }
  failures: string[]
}

interface RunOptions {
  world: World
  start: (world: World) => Promise<Contender>
  /** The least time that it can take, in ms. */
  limit: number
  /** Limits after which it is cut off. */
  giveUp: number
}

/** Starts a contender, lets all nodes pull, measures, checks what they hold, and stops it. */
export async function runOnce({ world, start, limit, giveUp }: RunOptions): Promise<RunResult> {
  const { upstream, lan, fleetCase } = world
  const crossedFrames = async () => (fleetCase.between === undefined ? 0 : await lan.crossed())
  const failures: string[] = []
  const { result, frames, mark, sent, between } = await (async () => {
    await using contender = await start(world)
    const mark = await upstream.mark()
    const before = await sentFrames(upstream.pid)
    const crossedBefore = { content: await contender.crossed?.(), frames: await crossedFrames() }
    const result = await new Race(world, contender).run(limit, giveUp)
    // What is fetched after the clients have all they want counts; what slow nodes still want would take minutes.
    if (result.nodes.every(hasEnded)) await upstream.settled()
    const frames = (await sentFrames(upstream.pid)) - before
    const contentAfter = await contender.crossed?.()
    const between = {
      content: contentAfter === undefined ? undefined : contentAfter - (crossedBefore.content ?? 0),
      frames: (await crossedFrames()) - crossedBefore.frames,
    }
    for (const [index, node] of result.nodes.entries()) {
      const pid = contender.daemons[index]
      if (pid !== undefined && node.killedAt === undefined) node.peakMemory = await peakMemory(pid).catch(() => 0)
      if (node.finished === undefined) continue
      await contender.verify?.(index).catch((error: Error) => void failures.push(`${node.name}: ${error.message}`))
    }
    return { result, frames, mark, sent: await contender.sent?.(), between }
  })()
  // Upstream says how much it sent to those that were cut off only when they are.
  await upstream.settled()
  const content = sent ?? (await upstream.sentSince(mark))
  for (const { name, failure } of result.nodes) if (failure) failures.push(`${name}: ${failure}`)
  return {
    ...result,
    ...timesOf(result),
    upstream: { content, frames },
    ...(fleetCase.between !== undefined && { between }),
    failures,
  }
}

function timesOf({ nodes }: RaceResult): { last: number; median: number } | undefined {
  const counted = nodes.filter((node) => !node.slow && node.killedAt === undefined)
  const times = counted.flatMap(({ finished }) => finished ?? [])
  return times.length === counted.length ? { last: Math.max(...times), median: median(times) } : undefined
}
