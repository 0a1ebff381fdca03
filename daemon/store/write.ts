import type { FileHandle } from 'node:fs/promises'
import { writeError } from './errors.ts'

/** Writes all bytes at a position. @throws {StoreError} no-space, io */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
  } catch (error) {
    throw writeError(error)
  }
}
