import { hasSigned, type Signer } from '../signature.ts'
import type { SignedName } from '../swarm/ports.ts'

/*
 * What somebody says of a name is signed by its key, and passed on by others as it is:
 *
 *   "layerd name 1\0" | sequence, time, size (8 bytes each) | repository | "\0" | reference | "\0" | digest | "\0" | media type
 *   | "\0" | subject | "\0" | artifact type
 *
 * Numbers have the most significant byte first. Texts are ASCII, empty where there is nothing, and none of them can have a zero byte
 * in it. The time is for people; nothing is decided by it.
 */
const tag = Buffer.from('layerd name 1\0')

/** What a signature speaks for. */
export type NameStatement = Omit<SignedName, 'publisher' | 'signature'>

/** Signs what this node says of a name. @throws {RangeError} for numbers below zero */
export function signName(signer: Signer, statement: NameStatement): SignedName {
  return { ...statement, publisher: signer.self, signature: signer.sign(signedBytes(statement)) }
}

/** Whether the publisher that is named has signed it. */
export function isSignedName(name: SignedName): boolean {
  try {
    return hasSigned(name.publisher, signedBytes(name), name.signature)
  } catch {
    return false
  }
}

function signedBytes(statement: NameStatement): Buffer {
  const { repository, reference, digest = '', mediaType = '', subject = '', artifactType = '' } = statement
  const numbers = Buffer.alloc(24)
  for (const [index, number] of [statement.sequence, statement.at, statement.size].entries())
    numbers.writeBigUInt64BE(BigInt(number), 8 * index)
  const texts = [repository, reference, digest, mediaType, subject, artifactType].join('\0')
  return Buffer.concat([tag, numbers, Buffer.from(texts, 'latin1')])
}

/** A name as people write it. */
export function nameOf({ repository, reference }: Pick<SignedName, 'repository' | 'reference'>): string {
  return `${repository}${reference.includes(':') ? '@' : ':'}${reference}`
}

/** Whether a record takes the place of another one of its publisher. Of two that a key has signed at once, all nodes keep the same. */
export function isNews(name: SignedName, known: SignedName | undefined): boolean {
  if (known === undefined || name.sequence !== known.sequence) return name.sequence > (known?.sequence ?? 0)
  return (name.digest ?? '') > (known.digest ?? '')
}

/** A name as a key: no repository or reference has a space. */
export function keyOf({ repository, reference }: Pick<SignedName, 'repository' | 'reference'>): string {
  return `${repository} ${reference}`
}
