import type { FileHandle } from 'node:fs/promises'
import { StoreError } from './errors.ts'
import type { BlobRecord } from './metadata.ts'

/** A blob on disk, open for reading and safe from eviction until it is closed. */
export interface StoredBlob {
  readonly record: BlobRecord
  /** Bytes `start` to `end` inclusive; a chunk is valid until the next one is asked for. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** Large enough that system calls don't count. */
const bufferBytes = 512 * 1024

/** Readers that get such buffers. Each holds two, also while its client takes nothing. */
const maxLargeReaders = 64

/** For those beyond: hundreds of them fit into memory. */
const smallBufferBytes = 64 * 1024

/** Buffers are kept for the next reader: fresh memory costs a page fault for every 4 KiB. */
const spareBuffers: Buffer[] = []
const maxSpareBuffers = 32

let readers = 0

function takeBuffer(bytes: number): Buffer {
  return (bytes === bufferBytes ? spareBuffers.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes)
}

function giveBack(buffer: Buffer): void {
  if (buffer.length === bufferBytes && spareBuffers.length < maxSpareBuffers) spareBuffers.push(buffer)
}

/**
 * Reads bytes `start` to `end` inclusive of an open file, one buffer ahead of its consumer.
 * A chunk is valid until the next one is asked for.
 * @throws {StoreError} truncated, where the file ends before `end`
 */
export async function* readBytes(
  file: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const bytes = readers < maxLargeReaders ? bufferBytes : smallBufferBytes
  readers++
  let current = takeBuffer(bytes)
  let ahead = takeBuffer(bytes)
  let position = start
  const readInto = (buffer: Buffer) => file.read(buffer, 0, Math.min(bytes, end + 1 - position), position)
  let pending = position <= end ? readInto(current) : undefined
  try {
    while (pending !== undefined) {
      const { bytesRead } = await pending
      pending = undefined
      signal.throwIfAborted()
      if (bytesRead === 0) throw new StoreError('truncated', `the file ends at ${position}, ${end + 1} was expected`)
      position += bytesRead
      if (position <= end) pending = readInto(ahead)
      // Without a consumer nobody awaits the read ahead; its failure is seen where it is awaited.
      pending?.catch(() => {})
      yield current.subarray(0, bytesRead)
      ;[current, ahead] = [ahead, current]
    }
  } finally {
    await pending?.catch(() => {})
    readers--
    giveBack(current)
    giveBack(ahead)
  }
}
