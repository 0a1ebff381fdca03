import { hasSigned, type Signer } from '../signature.ts'
import type { SignedTag } from '../swarm/ports.ts'

/*
 * What a tag means is believed from members of a swarm only, who sign what upstream has told them. Others pass it on as it is:
 *
 *   "layerd tag 1\0" | time (8 bytes) | digest | "\0" | media type, or nothing | "\0" | registry/repository:tag
 *
 * The time is when upstream said so, in ms since the epoch by the signer's clock, with the most significant byte first. Texts are
 * ASCII, and none of them can have a zero byte in it.
 */
const tag = Buffer.from('layerd tag 1\0')
const timeBytes = 8

/** What a signature speaks for, besides the reference. */
type Statement = Pick<SignedTag, 'digest' | 'mediaType' | 'at'>

/**
 * Signs what upstream has said of a tag to this node.
 * @param reference `registry/repository:tag`
 * @throws {RangeError} for a time before the epoch
 */
export function signTag(signer: Signer, reference: string, statement: Statement): SignedTag {
  const { digest, mediaType, at } = statement
  const signature = signer.sign(signedBytes(reference, statement))
  return { digest, mediaType, at, signer: signer.self, signature }
}

/** Whether the one who is named has signed this of the tag. */
export function isSignedTag(reference: string, signed: SignedTag): boolean {
  try {
    return hasSigned(signed.signer, signedBytes(reference, signed), signed.signature)
  } catch {
    return false
  }
}

function signedBytes(reference: string, { digest, mediaType = '', at }: Statement): Buffer {
  const time = Buffer.alloc(timeBytes)
  time.writeBigUInt64BE(BigInt(at))
  return Buffer.concat([tag, time, Buffer.from([digest, mediaType, reference].join('\0'), 'latin1')])
}
