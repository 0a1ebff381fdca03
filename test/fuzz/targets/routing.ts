import assert from 'node:assert/strict'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { Frames, frame } from '../../../daemon/swarm/conversation.ts'
import { passCost, takeCost } from '../../../daemon/swarm/routing/load.ts'
import { MAX_ROUTED_BYTES, type Message, parseMessage } from '../../../daemon/swarm/routing/message.ts'
import { isSigned, Numbers, Signer } from '../../../daemon/swarm/routing/signature.ts'
import { signingKey } from '../../../daemon/swarm/signing.ts'
import { pieces, type Target, taken } from '../target.ts'

const key = await generateKeyPair('Ed25519')
const self = peerIdFromPrivateKey(key).toString()
const signer = new Signer(self, signingKey(key))

const messages: readonly Message[] = [
  { id: 1, hops: 15, ask: { kind: 'nearest', to: 7, count: 3, without: self } },
  { id: 2, hops: 0, ask: { kind: 'where', to: 2 ** 32 - 1, peer: self } },
  { id: 3, hops: 14, ask: { kind: 'find', to: 0, key: new Uint8Array(32).fill(1) } },
  {
    id: 4,
    hops: 9,
    ask: signer.sign({ kind: 'announce', to: 3, action: 'place', keys: new Uint8Array(64), first: 1 }),
  },
  { id: 5, hops: 9, ask: signer.sign({ kind: 'tell', to: 3, peer: self, payload: Buffer.from('hello') }) },
  { id: 1, answer: { kind: 'peers', peers: [{ peer: self, addresses: ['/ip4/10.0.0.1/tcp/4050'] }] } },
  { id: 3, answer: { kind: 'providers', providers: [self] } },
  { id: 4, answer: { kind: 'taken', taken: 1 } },
  { id: 5, answer: { kind: 'no', reason: 'old', last: 7 } },
  { full: true },
  { large: false },
]

/** Values of a stream, or the error that ends it. */
function read(parts: readonly Buffer[]): { values: unknown[]; error?: string } {
  const frames = new Frames(MAX_ROUTED_BYTES)
  const values: unknown[] = []
  try {
    for (const part of parts) for (const value of frames.push(part)) values.push(value)
    return { values }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return { values, error: error.message }
  }
}

export const routingTargets: readonly Target[] = [
  {
    name: 'routed',
    corpus: [...messages.map((message) => Buffer.from(frame(message))), Buffer.concat(messages.map(frame))],
    words: ['kind', 'hops', 'ask', 'answer', 'origin', 'number', 'signature', 'keys', 'payload', 'full', 'large', self],
    run: (bytes, random) => {
      const numbers = new Numbers()
      const { values, error } = read([bytes])
      assert.deepEqual(read(pieces(bytes, random)), error === undefined ? { values } : { values, error })
      for (const value of values) {
        const message = taken(
          () => parseMessage(value),
          (reason) => reason instanceof Error,
        )
        if (message === undefined) continue
        // A relay passes on what it has read.
        assert.deepEqual(read([Buffer.from(frame(message))]).values.map(parseMessage), [message])
        if (!('ask' in message)) continue
        const { ask } = message
        assert.ok(passCost(ask) > 0 && takeCost(ask) > 0)
        if (!('origin' in ask) || !isSigned(ask)) continue
        assert.equal(ask.origin, self)
        numbers.take(ask, self)
      }
    },
  },
]
