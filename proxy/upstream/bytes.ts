/** The rest of a body, without its first `count` bytes. */
export async function* withoutFirst(count: number, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let left = count
  for await (const chunk of body) {
    if (chunk.length > left) yield left === 0 ? chunk : chunk.subarray(left)
    left = Math.max(0, left - chunk.length)
  }
}
