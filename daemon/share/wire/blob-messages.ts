import { algorithmOf, type Digest, type DigestAlgorithm, digestFrom, hexOf } from '../../../proxy/oci/digest.ts'
import { parseMediaType } from '../../../proxy/oci/media-type.ts'
import type { BlobFacts } from '../../swarm/ports.ts'
import { stateBytes } from '../../verify/state.ts'
import {
  MAX_BLOB_BYTES,
  MAX_MEDIA_TYPE_CHARACTERS,
  MAX_NUMBER,
  MAX_PEER_ID_CHARACTERS,
  MAX_REPOSITORIES,
  MAX_REPOSITORY_BYTES,
  MAX_STATES,
  MAX_STATES_PER_MESSAGE,
  SIGNATURE_BYTES,
} from './limits.ts'
import { type Reader, WireError } from './reader.ts'
import type { Introduction, ListPart, ListSignature } from './wire-message.ts'
import type { Writer } from './writer.ts'

const algorithms: readonly { readonly algorithm: DigestAlgorithm; readonly bytes: number }[] = [
  { algorithm: 'sha256', bytes: 32 },
  { algorithm: 'sha512', bytes: 64 },
]

/** What an introduction has besides the digest. */
const WITH_FACTS = 1
const WITH_MEDIA_TYPE = 2
const IS_PRIVATE = 4

export function writeIntroduction(writer: Writer, { number, digest, facts }: Introduction): void {
  writer.varint(number)
  writer.byte(algorithms.findIndex(({ algorithm }) => algorithm === algorithmOf(digest)))
  writer.hex(hexOf(digest))
  // A blob that is too large is not shared: no peer needs to know its size.
  if (facts === undefined || facts.size > MAX_BLOB_BYTES) {
    writer.byte(0)
    return
  }
  const { size, access, repositories } = facts
  // One that can't be told is as good as none.
  const mediaType = parseMediaType(facts.mediaType)
  const isPrivate = access === 'private'
  writer.byte(WITH_FACTS + (mediaType === undefined ? 0 : WITH_MEDIA_TYPE) + (isPrivate ? IS_PRIVATE : 0))
  writer.varint(size)
  if (mediaType !== undefined) writer.text(mediaType)
  if (isPrivate) writeRepositories(writer, repositories)
}

/** The most recent ones, which are the last. */
function writeRepositories(writer: Writer, repositories: readonly string[]): void {
  const told = repositories
    .filter((repository) => Buffer.byteLength(repository) <= MAX_REPOSITORY_BYTES)
    .slice(-MAX_REPOSITORIES)
  writer.varint(told.length)
  for (const repository of told) writer.text(repository)
}

export function readIntroduction(reader: Reader): Introduction {
  const number = readNumber(reader)
  const digest = readDigest(reader)
  const flags = reader.byte()
  if (flags === 0) return { kind: 'intro', number, digest, facts: undefined }
  const isKnown = (flags & WITH_FACTS) !== 0 && flags <= WITH_FACTS + WITH_MEDIA_TYPE + IS_PRIVATE
  if (!isKnown) throw new WireError(`an introduction can't have the parts ${flags}`)
  return { kind: 'intro', number, digest, facts: readFacts(reader, flags) }
}

function readDigest(reader: Reader): Digest {
  const number = reader.byte()
  const known = algorithms[number]
  if (known === undefined) throw new WireError(`${number} is no digest algorithm`)
  const digest = digestFrom(known.algorithm, reader.view(known.bytes).toString('hex'))
  if (digest === undefined) throw new WireError('the digest is none')
  return digest
}

function readFacts(reader: Reader, flags: number): BlobFacts {
  const size = reader.varint(MAX_BLOB_BYTES, 'size of a blob')
  const told =
    (flags & WITH_MEDIA_TYPE) === 0 ? undefined : reader.ascii(MAX_MEDIA_TYPE_CHARACTERS, 'media type of a blob')
  // Whoever tells what is none may have been told it before there was this check.
  const mediaType = parseMediaType(told)
  if ((flags & IS_PRIVATE) === 0) return { size, mediaType, access: 'public', repositories: [] }
  const count = reader.varint(MAX_REPOSITORIES, 'number of repositories')
  const repositories: string[] = []
  while (repositories.length < count) repositories.push(reader.text(MAX_REPOSITORY_BYTES, 'name of a repository'))
  return { size, mediaType, access: 'private', repositories }
}

/** @throws {RangeError} for parts of states, and for more than a message takes: see {@link splitList} */
export function writeListPart(writer: Writer, { number, from, states, signature }: ListPart): void {
  const count = states.length / stateBytes
  if (!Number.isInteger(count) || count > MAX_STATES_PER_MESSAGE)
    throw new RangeError(`${states.length} bytes are not whole states, or more than ${MAX_STATES_PER_MESSAGE}`)
  writer.varint(number)
  writer.varint(from)
  writer.varint(count)
  writer.bytes(states)
  writer.byte(signature === undefined ? 0 : 1)
  if (signature === undefined) return
  writer.text(signature.signer)
  writer.bytes(signature.bytes)
}

/** The states are in memory of their own. */
export function readListPart(reader: Reader): ListPart {
  const number = readNumber(reader)
  const from = reader.varint(MAX_STATES, 'number of states before')
  const count = reader.varint(MAX_STATES_PER_MESSAGE, 'number of states')
  if (from + count > MAX_STATES) throw new WireError(`no blob has ${from + count} inner states`)
  const states = Buffer.from(reader.view(count * stateBytes))
  return { kind: 'list', number, from, states, signature: readFlag(reader) ? readSignature(reader) : undefined }
}

function readSignature(reader: Reader): ListSignature {
  const signer = reader.ascii(MAX_PEER_ID_CHARACTERS, 'signer of a list')
  return { signer, bytes: Buffer.from(reader.view(SIGNATURE_BYTES)) }
}

/** A byte that is 0 or 1. */
export function readFlag(reader: Reader): boolean {
  const flag = reader.byte()
  if (flag > 1) throw new WireError(`${flag} says neither yes nor no`)
  return flag === 1
}

/** A sender's number of a blob. */
export function readNumber(reader: Reader): number {
  return reader.varint(MAX_NUMBER, 'number of a blob')
}
