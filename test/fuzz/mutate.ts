import type { Random } from './target.ts'

/** Longest input in bytes, but for a few that are repeated to {@link LONG_BYTES}. */
const MAX_BYTES = 4096
const LONG_BYTES = 2 ** 16

const numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]
const texts = ['0', '-1', '1e21', '9007199254740992', '0.5', '9990000000000000']
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
  const kind = random()
  if (corpus.length === 0 || kind < 0.05) return randomBytes(random, below(random, 200))
  let data = pick(random, corpus)
  if (kind < 0.07) return Buffer.from(data)
  for (let left = 1 + below(random, 4); left > 0; left--) data = change(random, data, corpus, words)
  if (kind < 0.071 && data.length > 0) return Buffer.alloc(1 + below(random, LONG_BYTES), data)
  return data.subarray(0, MAX_BYTES)
}

const below = (random: Random, end: number): number => Math.floor(random() * end)

function pick<T>(random: Random, all: readonly T[]): T {
  return all[below(random, all.length)] as T
}

function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = below(random, 256)
  return bytes
}

/** Puts bytes in the place of some. */
function put(data: Buffer, at: number, bytes: Buffer, over = 0): Buffer {
  return Buffer.concat([data.subarray(0, at), bytes, data.subarray(Math.min(data.length, at + over))])
}

function change(random: Random, data: Buffer, corpus: readonly Buffer[], words: readonly string[]): Buffer {
  const at = below(random, data.length + 1)
  switch (below(random, 11)) {
    case 0:
      return put(data, at, Buffer.from([(data[at] ?? 0) ^ (1 << below(random, 8))]), 1)
    case 1:
      return put(data, at, randomBytes(random, 1), 1)
    case 2: {
      const length = pick(random, [1, 2, 4])
      const number = Buffer.allocUnsafe(length)
      const value = pick(random, numbers) % 2 ** (8 * length)
      if (random() < 0.8) number.writeUIntBE(value, 0, length)
      else number.writeUIntLE(value, 0, length)
      return put(data, at, number, length)
    }
    case 3:
      return put(data, at, randomBytes(random, 1 + below(random, 8)))
    case 4:
      return put(data, at, Buffer.from(pick(random, characters)))
    case 5:
      return put(data, at, Buffer.alloc(0), 1 + below(random, 16))
    case 6:
      return put(data, at, data.subarray(below(random, data.length), below(random, data.length)))
    case 7:
      return put(data, at, pick(random, corpus).subarray(below(random, 40)))
    case 8:
      return Buffer.from(data.subarray(0, at))
    case 9:
      return put(data, at, Buffer.from(words.length > 0 ? pick(random, words) : ''), below(random, 4))
    default:
      return put(data, at, Buffer.from(pick(random, texts)))
  }
}
