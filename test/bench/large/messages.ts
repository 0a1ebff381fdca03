import type { Digest } from '../../../proxy/oci/digest.ts'

/** What a process of nodes is asked to do; each is answered with a {@link Reply}. */
export type Request =
  | { readonly kind: 'start'; readonly seeds: readonly string[]; readonly maxConnections: number }
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
  /** Connections of each node now. */
  readonly connections: readonly number[]
  /** Bytes. */
  readonly memory: number
}

export interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}
