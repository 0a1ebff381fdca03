import { stateBytes } from '../../verify/state.ts'
import type { BlobId, Message } from '../plan/messages.ts'
import { readIntroduction, readListPart, readNumber, writeIntroduction, writeListPart } from './blob-messages.ts'
import { MAX_FRAME_BYTES, MAX_STATES_PER_MESSAGE } from './limits.ts'
import {
  readAnswer,
  readAsk,
  readHead,
  readId,
  readNews,
  withinBounds,
  writeAnswer,
  writeAsk,
  writeHead,
  writeNews,
} from './plan-messages.ts'
import { Reader, WireError } from './reader.ts'
import type { ListPart, WireMessage } from './wire-message.ts'
import { Writer } from './writer.ts'

/*
 * What peers send each other over a link: a frame is one message or several, one after the other.
 *
 * | Kind | | Fields |
 * |---|---|---|
 * | 0 | intro | number, algorithm (0 sha256, 1 sha512), digest (32 or 64 bytes), facts |
 * | 1 | list | number, states before, count, states (32 bytes each), signed? [, signer, signature (64 bytes)] |
 * | 2 | retract | number |
 * | 3 | news | news |
 * | 4 | ask | id, news, count, wishes, oldest? [, number, chunk] |
 * | 5 | head | id, news, number, chunk, quarter (a byte) |
 * | 6, 7 | busy, none | id, news |
 * | 8, 9 | leave, cut | id |
 * | 10 | bye | number |
 *
 * | Part | Fields |
 * |---|---|
 * | facts | flags (1 known, 2 with media type, 4 private), and if known: size [, media type] [, count, repositories] |
 * | news | free sending places (a byte), count, for each blob: number, log |
 * | log | runs, 0 |
 * | run | 1 + 4 x chunks since the last run + 2 x whole? + several?, and for several: chunks - 2 |
 * | wish | number, first chunk that is missing, count, chunks on their way, count, late ones, count, broken ones |
 * | broken | chunk, parts that are held (a byte) |
 *
 * - The kind, the algorithm, flags and what ends in "?" (0 or 1) are a byte each.
 * - A number without a note is a varint: unsigned LEB128, the low 7 bits first. A text (media type, repository, signer) follows
 *   its length in bytes.
 * - A blob's number is the one that the sender of the message gave it by its introduction on this link. The receiver leaves out
 *   the parts of a message that are about a number it does not know (any more).
 * - Bounds are in limits.ts. A message that goes beyond one, ends early or is of another kind is a fault, and ends the link.
 */
const INTRO = 0
const LIST = 1
const RETRACT = 2
const NEWS = 3
const ASK = 4
const HEAD = 5
const BUSY = 6
const NONE = 7
const LEAVE = 8
const CUT = 9
const BYE = 10

const writer = new Writer()

/**
 * All of the messages in order, in as few frames as they fit into; almost always one. News beyond a bound becomes several messages. A question keeps its first 512 wishes. A blob
 * that is too large to be shared is introduced without facts.
 * @param numberOf this node's number of a blob on this link
 * @throws {RangeError} for a part of a list that is too long (see {@link splitList}), and for a number that is none
 */
export function encodeFrames(messages: readonly WireMessage[], numberOf: (blob: BlobId) => number): Uint8Array[] {
  const frames: Uint8Array[] = []
  writer.begin()
  for (const message of messages) {
    const before = writer.length
    writeMessage(message, numberOf)
    if (writer.length > MAX_FRAME_BYTES && before > 0) frames.push(writer.cut(before))
  }
  frames.push(writer.finish())
  return frames
}

function writeMessage(message: WireMessage, numberOf: (blob: BlobId) => number): void {
  if (message.kind === 'plan') writePlanMessage(message.message, numberOf)
  else if (message.kind === 'intro') {
    writer.byte(INTRO)
    writeIntroduction(writer, message)
  } else if (message.kind === 'list') {
    writer.byte(LIST)
    writeListPart(writer, message)
  } else {
    writer.byte(RETRACT)
    writer.varint(message.number)
  }
}

function writePlanMessage(message: Message, numberOf: (blob: BlobId) => number): void {
  if (message.kind === 'leave' || message.kind === 'cut') {
    writer.byte(message.kind === 'leave' ? LEAVE : CUT)
    writer.varint(message.id)
    return
  }
  if (message.kind === 'bye') {
    writer.byte(BYE)
    writer.varint(numberOf(message.blob))
    return
  }
  let { news } = message
  for (const part of withinBounds(news)) {
    if (news !== message.news) {
      writer.byte(NEWS)
      writeNews(writer, news, numberOf)
    }
    news = part
  }
  switch (message.kind) {
    case 'news':
      writer.byte(NEWS)
      writeNews(writer, news, numberOf)
      break
    case 'ask':
      writer.byte(ASK)
      writeAsk(writer, message, news, numberOf)
      break
    case 'head':
      writer.byte(HEAD)
      writeHead(writer, message, news, numberOf)
      break
    default:
      writer.byte(message.kind === 'busy' ? BUSY : NONE)
      writeAnswer(writer, message.id, news, numberOf)
  }
}

/**
 * The messages of a frame. Each is read when it is asked for, so that an introduction is registered before what follows is read;
 * a fault comes after the messages before it.
 *
 * A `bye` for a blob that is not known is left out. A `head` for one has the id UNKNOWN_BLOB (wire-message.ts): its answer is to be left.
 * @param bytes nothing that is returned refers to this memory
 * @param blobOf the blob to which the peer gave a number; undefined where there is none (any more)
 * @throws {WireError} where the frame is malformed or goes beyond a bound
 */
export function* decodeMessages(
  bytes: Uint8Array,
  blobOf: (number: number) => BlobId | undefined,
): Generator<WireMessage, void, undefined> {
  const reader = new Reader(bytes)
  while (!reader.isAtEnd) {
    const kind = reader.byte()
    if (kind === INTRO) yield readIntroduction(reader)
    else if (kind === LIST) yield readListPart(reader)
    else if (kind === RETRACT) yield { kind: 'retract', number: readNumber(reader) }
    else {
      const message = readPlanMessage(reader, kind, blobOf)
      if (message !== undefined) yield { kind: 'plan', message }
    }
  }
}

function readPlanMessage(
  reader: Reader,
  kind: number,
  blobOf: (number: number) => BlobId | undefined,
): Message | undefined {
  switch (kind) {
    case NEWS:
      return { kind: 'news', news: readNews(reader, blobOf) }
    case ASK:
      return readAsk(reader, blobOf)
    case HEAD:
      return readHead(reader, blobOf)
    case BUSY:
      return readAnswer(reader, 'busy', blobOf)
    case NONE:
      return readAnswer(reader, 'none', blobOf)
    case LEAVE:
      return { kind: 'leave', id: readId(reader) }
    case CUT:
      return { kind: 'cut', id: readId(reader) }
    case BYE: {
      const blob = blobOf(readNumber(reader))
      return blob === undefined ? undefined : { kind: 'bye', blob }
    }
    default:
      throw new WireError(`${kind} is no kind of message`)
  }
}

/**
 * A part of a list as several, none longer than a message may be. The signature is with the last one, as it is of all states up to
 * there.
 */
export function splitList(part: ListPart): readonly ListPart[] {
  const { from, states, signature } = part
  const most = MAX_STATES_PER_MESSAGE * stateBytes
  if (states.length <= most) return [part]
  const parts: ListPart[] = []
  for (let start = 0; start < states.length; start += most) {
    const end = Math.min(start + most, states.length)
    parts.push({
      ...part,
      from: from + start / stateBytes,
      states: states.subarray(start, end),
      signature: end === states.length ? signature : undefined,
    })
  }
  return parts
}
