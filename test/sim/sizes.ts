import type { Message, News } from '../../daemon/share/plan/messages.ts'

/** Bytes of a message with small numbers in two bytes each, a name in two, and 16 of framing. */
export function sizeOf(message: Message): number {
  let bytes = 16
  if ('news' in message) bytes += newsSize(message.news)
  if (message.kind === 'ask')
    for (const { coming, late, broken } of message.wishes)
      bytes += 6 + 2 * (coming.length + late.length) + 3 * broken.size
  return bytes
}

function newsSize({ blobs }: News): number {
  let bytes = 1
  for (const { log } of blobs) bytes += 4 + 2 * log.length
  return bytes
}
