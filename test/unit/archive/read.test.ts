import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type ArchiveEntry, readArchive } from '../../../daemon/archive/read.ts'
import { inPieces, tarOf } from '../../fixtures/archives.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'

async function readAll(bytes: AsyncIterable<Uint8Array>, isRead = (_: ArchiveEntry) => true) {
  const found: { name: string; size: number; target: string | undefined; content: Buffer }[] = []
  for await (const entry of readArchive(bytes)) {
    const pieces: Uint8Array[] = []
    if (isRead(entry)) for await (const piece of entry.body) pieces.push(piece)
    const { name, size, target } = entry
    found.push({ name, size, target, content: Buffer.concat(pieces) })
  }
  return found
}

const long = pseudoRandomBytes(300_000, 'long')
const files = [
  ['./a', 'first'],
  ['d/b', long],
  ['empty', ''],
  ['d/link', { link: '../a' }],
  ['d/hard', { link: './a', type: 'link' }],
  [`${'n'.repeat(300)}`, 'a long name'],
] as const

const expected = [
  { name: 'a', size: 5, target: undefined, content: Buffer.from('first') },
  { name: 'd/b', size: 300_000, target: undefined, content: Buffer.from(long) },
  { name: 'empty', size: 0, target: undefined, content: Buffer.alloc(0) },
  { name: 'd/link', size: 0, target: 'a', content: Buffer.alloc(0) },
  { name: 'd/hard', size: 0, target: 'a', content: Buffer.alloc(0) },
  { name: 'n'.repeat(300), size: 11, target: undefined, content: Buffer.from('a long name') },
]

describe('an archive', () => {
  it.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => gzipSync(tar)],
    ['zstd', (tar: Buffer) => zstdCompressSync(tar)],
  ] as const)('(%s) is read as it comes, in pieces of any size', async (_, compress) => {
    const tar = compress(await tarOf(files))
    for (const size of [7, 512, 100_000, 10_000_000]) expect(await readAll(inPieces(tar, size))).toEqual(expected)
  })

  it('is read on behind what nobody wants', async () => {
    const found = await readAll(inPieces(await tarOf(files)), ({ name }) => name === 'a')
    expect(found.map(({ name }) => name)).toEqual(expected.map(({ name }) => name))
  })

  it('that is not read to its end lets its source go', async () => {
    let isOver = false
    const source = async function* () {
      try {
        yield* inPieces(await tarOf(files))
      } finally {
        isOver = true
      }
    }
    for await (const entry of readArchive(source())) if (entry.name === 'd/b') break
    expect(isOver).toBe(true)
  })
})

/** The header of an entry as tar has it, with any fields. */
function header(name: string, size: string, type: string): Buffer {
  const bytes = Buffer.alloc(512)
  bytes.write(name, 0)
  bytes.write('0000644\0', 100)
  bytes.write(size, 124)
  bytes.write('        ', 148)
  bytes.write(type, 156)
  bytes.write('ustar\x0000', 257)
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return bytes
}

const octal = (size: number) => size.toString(8).padStart(11, '0')

async function* endless(first: Buffer, then: Buffer): AsyncGenerator<Uint8Array> {
  yield first
  for (let pieces = 0; pieces < 10_000; pieces++) yield then
  throw new Error('all of it was read')
}

describe('what is no archive, or a hostile one, is refused', () => {
  const filler = Buffer.alloc(65_536, 'x')
  it.each([
    ['empty', () => inPieces(Buffer.alloc(0)), /is empty/],
    ['text', () => inPieces(Buffer.from('hello\n'.repeat(200))), /no tar archive/],
    ['xz', () => inPieces(Buffer.from('fd377a585a0000', 'hex')), /compressed by xz.*xz -dc FILE \| layerd import -/],
    ['a damaged gzip', () => inPieces(gzipSync(filler).fill(0, 20, 60)), /can't be decompressed \(gzip\)/],
    ['one name of gigabytes', () => endless(header('x', octal(2 ** 33 - 1), 'L'), filler), /a name that is too long/],
    [
      'one pax header of gigabytes',
      () => endless(header('x', octal(2 ** 33 - 1), 'x'), filler),
      /a name that is too long/,
    ],
    ['zeros without end', () => endless(header('x', octal(0), '0'), Buffer.alloc(65_536)), /a name that is too long/],
    [
      'files without end',
      () => endless(header('x', octal(0), '0'), header('y', octal(0), '0')),
      /all of it was read|20000/,
    ],
  ])('%s', async (_, source, message) => {
    await expect(readAll(source())).rejects.toThrow(message)
  })

  it('a size that is no number', async () => {
    const pax = (text: string) =>
      Buffer.concat([header('p', octal(text.length), 'x'), Buffer.alloc(512).fill(text, 0, text.length)])
    for (const size of ['many', '-5']) {
      const record = `${8 + size.length} size=${size}\n`.replace(/^\d+/, `${`00 size=${size}\n`.length}`)
      const archive = Buffer.concat([pax(record), header('x', octal(3), '0'), Buffer.alloc(512)])
      await expect(readAll(inPieces(archive)), size).rejects.toThrow(
        /size of "x" in it is no number|is no tar|ends too early/,
      )
    }
  })

  it('one that was cut off, wherever', async () => {
    const tar = await tarOf(files)
    for (const length of [100, 600, 5_000, 300_000]) {
      await expect(readAll(inPieces(tar.subarray(0, length))), String(length)).rejects.toThrow(/ends too early/)
    }
    await expect(readAll(inPieces(gzipSync(tar).subarray(0, 100_000)))).rejects.toThrow(/can't be decompressed/)
  })

  it('more files than an image has', async () => {
    const many = async function* () {
      for (let at = 0; at <= 20_001; at++) yield header(`f${at}`, octal(0), '0')
    }
    await expect(readAll(many())).rejects.toThrow(/more than 20000 files/)
  })

  it.each([
    ['name', ['n'.repeat(1_025), 'x']],
    ['link', ['link', { link: 't'.repeat(1_025) }]],
  ] as const)('a long %s, as all are remembered', async (_, file) => {
    await expect(readAll(inPieces(await tarOf([file])))).rejects.toThrow(/longer than the 1024 bytes/)
  })

  it('one whose source fails, with that error', async () => {
    const source = async function* () {
      yield (await tarOf(files)).subarray(0, 5_000)
      throw new Error('the client has hung up')
    }
    await expect(readAll(source())).rejects.toThrow(/^the client has hung up$/)
    const zipped = async function* () {
      yield gzipSync(await tarOf(files)).subarray(0, 5_000)
      throw new Error('the client has hung up')
    }
    await expect(readAll(zipped())).rejects.toThrow(/^the client has hung up$/)
  })
})
