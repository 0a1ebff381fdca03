import type { Ask, BlobId, BlobNews, Head, Message, News, Wish } from '../plan/messages.ts'
import { readFlag, readNumber } from './blob-messages.ts'
import { MAX_BLOBS, MAX_BYTE, MAX_CHUNKS, MAX_LOG_ENTRIES, MAX_NAMED_CHUNKS, MAX_NUMBER } from './limits.ts'
import { LogReader, writeLog } from './log.ts'
import { type Reader, WireError } from './reader.ts'
import { UNKNOWN_BLOB } from './wire-message.ts'
import type { Writer } from './writer.ts'

type NumberOf = (blob: BlobId) => number
type BlobOf = (number: number) => BlobId | undefined

/** News, in as many parts as messages that keep within the bounds; almost always one. */
export function withinBounds(news: News): readonly News[] {
  const { free, blobs } = news
  let entries = 0
  for (const { log } of blobs) entries += log.length
  if (blobs.length <= MAX_BLOBS && entries <= MAX_LOG_ENTRIES) return [news]
  const parts: News[] = []
  let part: BlobNews[] = []
  let left = MAX_LOG_ENTRIES
  for (const blob of blobs) {
    // A chunk is written once, however often the log names it.
    const most = Math.min(blob.log.length, MAX_CHUNKS)
    if (part.length === MAX_BLOBS || most > left) {
      parts.push({ free, blobs: part })
      part = []
      left = MAX_LOG_ENTRIES
    }
    part.push(blob)
    left -= most
  }
  parts.push({ free, blobs: part })
  return parts
}

/** @param news of the message, or the last part of it */
export function writeAnswer(writer: Writer, id: number, news: News, numberOf: NumberOf): void {
  writer.varint(id)
  writeNews(writer, news, numberOf)
}

/** @param news of the message, or the last part of it */
export function writeAsk(writer: Writer, { id, wishes, oldest }: Ask, news: News, numberOf: NumberOf): void {
  writeAnswer(writer, id, news, numberOf)
  const told = atMost(wishes, MAX_BLOBS)
  writer.varint(told.length)
  for (const wish of told) writeWish(writer, wish, numberOf)
  writer.byte(oldest === undefined ? 0 : 1)
  if (oldest === undefined) return
  writer.varint(numberOf(oldest.blob))
  writer.varint(oldest.from)
}

/** @param news of the message, or the last part of it */
export function writeHead(writer: Writer, head: Head, news: News, numberOf: NumberOf): void {
  const { id, blob, chunk, quarter } = head
  writeAnswer(writer, id, news, numberOf)
  writer.varint(numberOf(blob))
  writer.varint(chunk)
  writer.byte(quarter)
}

export function writeNews(writer: Writer, { free, blobs }: News, numberOf: NumberOf): void {
  writer.byte(Math.max(0, Math.min(free, MAX_BYTE)))
  writer.varint(blobs.length)
  for (const { blob, log } of blobs) {
    writer.varint(numberOf(blob))
    writeLog(writer, log)
  }
}

/** A chunk beyond the bounds is left out. It may come twice then; there is no other harm. */
function writeWish(writer: Writer, { blob, first, coming, late, broken }: Wish, numberOf: NumberOf): void {
  writer.varint(numberOf(blob))
  writer.varint(first)
  writeChunks(writer, coming)
  writeChunks(writer, late)
  const parts = broken.size > MAX_NAMED_CHUNKS ? [...broken].slice(0, MAX_NAMED_CHUNKS) : broken
  writer.varint(Math.min(broken.size, MAX_NAMED_CHUNKS))
  for (const [chunk, count] of parts) {
    writer.varint(chunk)
    writer.byte(count)
  }
}

function writeChunks(writer: Writer, chunks: readonly number[]): void {
  const told = atMost(chunks, MAX_NAMED_CHUNKS)
  writer.varint(told.length)
  for (const chunk of told) writer.varint(chunk)
}

function atMost<T>(items: readonly T[], max: number): readonly T[] {
  return items.length > max ? items.slice(0, max) : items
}

export function readAnswer<K extends Message['kind']>(reader: Reader, kind: K, blobOf: BlobOf) {
  return { kind, id: readId(reader), news: readNews(reader, blobOf) }
}

export function readAsk(reader: Reader, blobOf: BlobOf): Ask {
  const ask = readAnswer(reader, 'ask', blobOf)
  const wishes = readWishes(reader, blobOf)
  return { ...ask, wishes, oldest: readFlag(reader) ? readOldest(reader, blobOf) : undefined }
}

export function readHead(reader: Reader, blobOf: BlobOf): Head {
  const head = readAnswer(reader, 'head', blobOf)
  const blob = blobOf(readNumber(reader)) ?? UNKNOWN_BLOB
  return { ...head, blob, chunk: readChunk(reader), quarter: reader.byte() }
}

export function readId(reader: Reader): number {
  return reader.varint(MAX_NUMBER, 'number of a question')
}

export function readNews(reader: Reader, blobOf: BlobOf): News {
  const free = reader.byte()
  const blobs: BlobNews[] = []
  const logs = new LogReader(reader)
  for (let left = reader.varint(MAX_BLOBS, 'number of blobs in the news'); left > 0; left--) {
    const blob = blobOf(readNumber(reader))
    const log = logs.read(blob !== undefined)
    if (blob !== undefined) blobs.push({ blob, log })
  }
  return { free, blobs }
}

/** One for each blob at most: a sender looks through its window for each of them. */
function readWishes(reader: Reader, blobOf: BlobOf): Wish[] {
  const wishes: Wish[] = []
  const numbers = new Set<number>()
  for (let left = reader.varint(MAX_BLOBS, 'number of wishes'); left > 0; left--) {
    const number = readNumber(reader)
    if (numbers.has(number)) throw new WireError(`a question has two wishes for blob ${number}`)
    numbers.add(number)
    const blob = blobOf(number)
    const first = readEdge(reader)
    const coming = readChunks(reader)
    const late = readChunks(reader)
    const broken = readBroken(reader)
    if (blob !== undefined) wishes.push({ blob, first, coming, late, broken })
  }
  return wishes
}

function readOldest(reader: Reader, blobOf: BlobOf): Ask['oldest'] {
  const blob = blobOf(readNumber(reader))
  const from = readEdge(reader)
  return blob === undefined ? undefined : { blob, from }
}

function readBroken(reader: Reader): Map<number, number> {
  const broken = new Map<number, number>()
  for (let left = readCount(reader); left > 0; left--) broken.set(readChunk(reader), reader.byte())
  return broken
}

function readChunks(reader: Reader): number[] {
  const chunks: number[] = []
  for (let left = readCount(reader); left > 0; left--) chunks.push(readChunk(reader))
  return chunks
}

function readCount(reader: Reader): number {
  return reader.varint(MAX_NAMED_CHUNKS, 'number of chunks that a wish names')
}

function readChunk(reader: Reader): number {
  return reader.varint(MAX_CHUNKS - 1, 'number of a chunk')
}

/** A chunk, or the end of the largest blob. */
function readEdge(reader: Reader): number {
  return reader.varint(MAX_CHUNKS, 'number of a chunk')
}
