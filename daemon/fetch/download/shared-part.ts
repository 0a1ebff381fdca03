import type { SharedBlob } from '../../swarm/ports.ts'
import { quarterBytes } from '../../verify/quarter.ts'
import type { Notifier } from '../notifier.ts'
import { waitFor } from '../wait.ts'
import type { Assembly } from './assembly.ts'
import type { DownloadFacts } from './context.ts'
import { readHeld } from './reader.ts'

interface SharedPartOptions {
  readonly assembly: Assembly
  readonly facts: DownloadFacts
  /** Whether peers may have it, and it is what is fetched, still: a source may have said meanwhile that it is private. */
  readonly isShared: () => boolean
  /** Whether nothing more will come. */
  readonly hasEnded: () => boolean
  /** Told when quarters have come, or one of the above has changed. */
  readonly changed: Notifier
  readonly signal: AbortSignal
  readonly onClose: () => Promise<void>
}

/** What is held of a blob that is being fetched, as peers may have it. */
export function sharedPart(options: SharedPartOptions): SharedBlob {
  const { assembly, facts, isShared, onClose } = options
  return {
    size: facts.size,
    mediaType: facts.mediaType,
    access: facts.public ? 'public' : 'private',
    repositories: facts.repositories,
    has: (start, end, ms) => isThere(options, start, end, ms),
    async *read(start, end, signal) {
      for await (const bytes of readHeld(assembly, start, end, signal)) {
        if (!isShared()) throw new Error('it is not shared any more')
        yield bytes
      }
    },
    close: onClose,
  }
}

async function isThere(options: SharedPartOptions, start: number, end: number, ms: number): Promise<boolean> {
  const { assembly, isShared, hasEnded, changed, signal } = options
  const first = Math.floor(start / quarterBytes)
  const until = performance.now() + ms
  while (isShared() && assembly.held.firstMissing(first) * quarterBytes <= end) {
    const left = until - performance.now()
    if (hasEnded() || left <= 0) return false
    await waitFor(changed.next(signal), left, signal).catch(() => {})
  }
  return isShared()
}
