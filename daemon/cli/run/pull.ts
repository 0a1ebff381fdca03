import { ControlClient } from '../control.ts'
import type { PullFlags } from '../node-flags.ts'
import { type LayerEvent, LayerLines } from './layers.ts'
import { formatBytes } from './terminal.ts'

/** What a node tells of an image that it has pulled. */
interface Pulled {
  readonly name: string
  readonly digest: string
  readonly platforms: readonly string[]
  readonly fetchedBytes: number
  readonly missing: readonly string[]
}

/** @param operation `pin` keeps what was pulled */
export async function pull(
  image: string,
  { platform = [], json, ...flags }: PullFlags,
  operation: 'pull' | 'pin' = 'pull',
): Promise<void> {
  const pulled = await ControlClient.use(flags, (node) =>
    pullAt(node, { image, platforms: platform }, json ? undefined : process.stdout, operation),
  )
  if (json) process.stdout.write(`${JSON.stringify(pulled, null, 2)}\n`)
  else process.stdout.write(pulledText(pulled))
}

/** Pulls an image, and shows how far that is. @throws {Failure} */
export async function pullAt(
  node: ControlClient,
  input: { readonly image: string; readonly platforms: readonly string[]; readonly isPartEnough?: boolean },
  screen: NodeJS.WriteStream | undefined,
  operation: 'pull' | 'pin' = 'pull',
): Promise<Pulled> {
  const lines = screen && new LayerLines(screen)
  let pulled: Pulled | undefined
  try {
    for await (const event of node.events({ operation, input })) {
      if (event.event === 'layer') lines?.note(event as unknown as LayerEvent)
      if (event.event === 'done') {
        const { event: _, ...rest } = event
        pulled = rest as unknown as Pulled
      }
    }
  } finally {
    lines?.end()
  }
  return pulled as Pulled
}

function pulledText({ name, digest, platforms, fetchedBytes, missing }: Pulled): string {
  const what = [name, digest, platforms.join(', ')].filter((part) => part !== '').join('  ')
  const lines = [what, fetchedBytes === 0 ? 'all of it was here' : `${formatBytes(fetchedBytes)} fetched`]
  if (missing.length > 0) lines.push(`${missing.length} of its manifests can't be had from anybody`)
  return `${lines.join('\n')}\n`
}
