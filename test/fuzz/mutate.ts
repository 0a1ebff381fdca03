import type { Random } from './target.ts'

/** Longest input in bytes, but for a few that are repeated to {@link LONG_BYTES}. */
const MAX_BYTES = 4096
const LONG_BYTES = 2 ** 16

const numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]
const characters = [
  '\0',
  '\r\n',
  ' ',
  '"',
  '\\',
  ',',
  ';',
  '=',
  '<',
  '>',
  '/',
  ':',
  '%',
  '..',
  'é',
  '\ud83d\ude00',
  '\u2028',
]

/** An input: random bytes, or one of the corpus with some changes. */
export function input(random: Random, corpus: readonly Buffer[], words: readonly string[]): Buffer {
  const below = (end: number) => Math.floor(random() * end)
  const pick = <T>(all: readonly T[]): T => all[below(all.length)] as T
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => below(256)))
  if (corpus.length === 0 || random() < 0.05) return bytes(below(200))
  let data: Buffer = Buffer.from(pick(corpus))
  if (random() < 0.02) return data
  const at = () => below(data.length + 1)
  const insert = (place: number, what: Buffer, over = 0) => {
    data = Buffer.concat([data.subarray(0, place), what, data.subarray(Math.min(data.length, place + over))])
  }
  const number = (place: number) => {
    const length = pick([1, 2, 4])
    const value = pick(numbers) % 2 ** (8 * length)
    const written = Buffer.alloc(length)
    if (random() < 0.8) written.writeUIntBE(value, 0, length)
    else written.writeUIntLE(value, 0, length)
    insert(place, written, length)
  }
  const set = (change: (byte: number) => number) => {
    const place = below(data.length)
    if (place < data.length) data.writeUInt8(change(data.readUInt8(place)) & 0xff, place)
  }
  const changes: readonly (() => void)[] = [
    () => set((byte) => byte ^ (1 << below(8))),
    () => set(() => below(256)),
    () => number(at()),
    () => insert(at(), bytes(1 + below(8))),
    () => insert(at(), Buffer.from(pick(characters))),
    () => insert(at(), Buffer.alloc(0), 1 + below(16)),
    () => insert(at(), Buffer.from(data.subarray(at(), at()))),
    () => insert(at(), Buffer.from(pick(corpus).subarray(below(40)))),
    () => insert(at(), Buffer.alloc(0), data.length),
    () => insert(at(), Buffer.from(words.length > 0 ? pick(words) : ''), below(4)),
    () => insert(at(), Buffer.from(String(pick([0, -1, 1e21, 2 ** 53, 0.5, 9.99e15])))),
  ]
  for (let left = 1 + below(4); left > 0; left--) pick(changes)()
  if (random() < 0.001 && data.length > 0) return Buffer.alloc(1 + below(LONG_BYTES), data)
  return data.subarray(0, MAX_BYTES)
}
