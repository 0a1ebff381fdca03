/**
 * Bytes of a piece. Handing one over to other threads costs the more the smaller it is; while many transfers run, each of
 * them is slow, and memory counts.
 */
const largePiece = 1024 * 1024
const smallPiece = 256 * 1024

/** So many transfers gather large pieces. */
const maxLarge = 4

/** Kept for the next one, by size: fresh memory costs a page fault for every 4 KiB. */
const spare = new Map<number, Buffer[]>([
  [largePiece, []],
  [smallPiece, []],
])
const maxSpare = new Map([
  [largePiece, 2 * maxLarge],
  [smallPiece, 32],
])

let large = 0

function takePiece(size: number): Buffer {
  return spare.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size)
}

function givePiece(piece: Buffer): void {
  const kept = spare.get(piece.length)
  if (kept !== undefined && kept.length < (maxSpare.get(piece.length) ?? 0)) kept.push(piece)
}

/**
 * Gathers a body into pieces of one size and hands each to `take`, one at a time, while the next one is gathered. A piece
 * never goes over a multiple of `border` bytes from the start, so each quarter begins with a piece of its own.
 */
export async function inPieces(
  body: AsyncIterable<Uint8Array>,
  border: number,
  take: (piece: Buffer) => Promise<void>,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const size = large < maxLarge ? largePiece : smallPiece
  if (size === largePiece) large++
  let gathering = takePiece(size)
  let other = takePiece(size)
  let gathered = 0
  let position = 0
  let pending: Promise<void> = Promise.resolve()
  const flush = async () => {
    await pending
    pending = take(gathering.subarray(0, gathered))
    // It is awaited before the next piece, and at the end.
    pending.catch(() => {})
    ;[gathering, other] = [other, gathering]
    gathered = 0
  }
  try {
    for await (const bytes of body) {
      onBytes(bytes.length)
      for (let at = 0; at < bytes.length; ) {
        const room = Math.min(size - gathered, border - (position % border))
        const taken = Math.min(room, bytes.length - at)
        gathering.set(bytes.subarray(at, at + taken), gathered)
        gathered += taken
        position += taken
        at += taken
        if (taken === room) await flush()
      }
    }
    if (gathered > 0) await flush()
    await pending
  } finally {
    await pending.catch(() => {})
    givePiece(gathering)
    givePiece(other)
    if (size === largePiece) large--
  }
}
