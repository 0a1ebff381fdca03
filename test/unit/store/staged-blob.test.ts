import { open } from 'node:fs/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { StagedBlob } from '../../../daemon/store/staged-blob.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'

describe('StagedBlob on a full disk', () => {
  it('says so, and stays readable up to where it got', async () => {
    // Linux has a device for which every write fails as on a full disk.
    const file = await open('/dev/full', 'r+')
    const blob = new StagedBlob({
      digest: digestOf(Buffer.from('')),
      file,
      reserve: async () => {},
      onProgress: () => {},
    })
    onTestFinished(() => blob.close())
    const write = async () => {
      for (let count = 0; count < 4; count++) await blob.write(pseudoRandomBytes(1024 * 1024))
    }
    await expect(write()).rejects.toMatchObject({ code: 'no-space', message: /full/ })
    await expect(blob.finish()).rejects.toMatchObject({ code: 'no-space' })
    expect(blob.readable).toBe(0)
    expect(blob.hashOfReadable().digest('hex')).toBe(digestOf(Buffer.from('')).slice(7))
  })
})
