import type { Content } from '../../proxy/ports.ts'

/** Reads content that is a manifest, and closes it. */
export async function readContent(content: Content, signal: AbortSignal): Promise<Buffer> {
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of content.read(0, undefined, signal)) pieces.push(Uint8Array.from(piece))
    return Buffer.concat(pieces)
  } finally {
    await content.close()
  }
}
