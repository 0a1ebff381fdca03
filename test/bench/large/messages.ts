import type { Digest } from '../../../proxy/oci/digest.ts'

/** What a process of nodes is asked to do; each is answered with a {@link Reply}. */
export type Request =
  | {
      readonly kind: 'start'
      /** The IPv4 address that is the node's own: it listens there, and connects from there. */
      readonly host: string
      readonly seeds: readonly string[]
      readonly maxConnections: number
      /** It is answered once the node has this many peers: then it has joined. */
      readonly joinedWith: number
    }
  | { readonly kind: 'stop'; readonly node: string }
  /** The node has a new blob from now on. */
  | { readonly kind: 'announce'; readonly node: string }
  /** How long the node takes to find a holder, in ms. */
  | { readonly kind: 'find'; readonly node: string; readonly digest: Digest; readonly holder: string }
  /** How long the node takes to ask the blob's coordinator, until it has the answer, in ms; and who that was. */
  | { readonly kind: 'claim'; readonly node: string; readonly digest: Digest }
  | { readonly kind: 'usage' }

export interface Started {
  readonly node: string
  readonly address: string
}

export interface Taken {
  /** Undefined where it did not happen in time. */
  readonly ms: number | undefined
  readonly coordinator?: string | undefined
}

export interface Usage {
  /** CPU time of the process so far, in ms. */
  readonly cpuMs: number
  /** Writes to sockets so far: each message is one, of whatever protocol. */
  readonly writes: number
  /** Connections that were made so far, by libp2p and others. */
  readonly made: number
  /** Those of them that came from the address of no node. */
  readonly strays: number
  /** Peers of each node now. */
  readonly peers: readonly number[]
  /** Bytes. */
  readonly memory: number
}

export interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}
