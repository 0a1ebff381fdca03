import { quarterBytes } from '../../verify/quarter.ts'

/** Kept for the next body: fresh memory costs a page fault for every 4 KiB. */
const spare: Buffer[] = []
const maxSpare = 32

function takePiece(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(quarterBytes)
}

function givePiece(piece: Buffer): void {
  if (spare.length < maxSpare) spare.push(piece)
}

/**
 * Gathers a body that begins with a quarter into quarters, as handing over a piece to other threads costs the more the smaller it
 * is; and hands each to `take`, one at a time, while the next one is gathered. Only the last one may be shorter.
 */
export async function inQuarters(
  body: AsyncIterable<Uint8Array>,
  take: (bytes: Buffer) => Promise<void>,
  onBytes: (bytes: number) => void,
): Promise<void> {
  let gathering = takePiece()
  let other = takePiece()
  let gathered = 0
  let pending: Promise<void> = Promise.resolve()
  const flush = async () => {
    await pending
    pending = take(gathering.subarray(0, gathered))
    // It is awaited before the next one, and at the end.
    pending.catch(() => {})
    ;[gathering, other] = [other, gathering]
    gathered = 0
  }
  try {
    for await (const bytes of body) {
      onBytes(bytes.length)
      for (let at = 0; at < bytes.length; ) {
        const taken = Math.min(quarterBytes - gathered, bytes.length - at)
        gathering.set(bytes.subarray(at, at + taken), gathered)
        gathered += taken
        at += taken
        if (gathered === quarterBytes) await flush()
      }
    }
    if (gathered > 0) await flush()
    await pending
  } finally {
    await pending.catch(() => {})
    givePiece(gathering)
    givePiece(other)
  }
}
