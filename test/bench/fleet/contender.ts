import type { Tools } from '../../e2e/debian.ts'
import type { FleetCase } from './case.ts'
import type { FleetImage } from './image.ts'
import type { Lan } from './lan.ts'
import type { FleetRegistry } from './registry.ts'

/** What a contender is started with. */
export interface World {
  tools: Tools
  lan: Lan
  fleetCase: FleetCase
  /** What is distributed. */
  image: FleetImage
  /** A small image for a first pull. */
  first: FleetImage
  /** Folder with the blobs of the images. */
  blobs: string
  upstream: FleetRegistry
  /** layerd's compiled program. */
  program: string
  /** For the data of this run. */
  folder: string
  /** For the logs of this run. */
  logs: string
  /** Says what is going on, for the person who waits. */
  log: (line: string) => void
}

/** One node's way to the image. */
export interface Pull {
  /** Of the program that asks for the image. */
  readonly pid: number
  /** When the node had all of it, by the clock of `performance.now()`. Rejects when it will never have it. */
  readonly finished: Promise<number>
  /** Bytes that the node has so far; undefined when that can't be seen any more. */
  bytes(): number | undefined
  stop(): void
}

/** A way to distribute an image, started and ready. */
export interface Contender extends AsyncDisposable {
  /** One for each node, in their order. */
  readonly pulls: readonly Pull[]
  /** Processes of the nodes' own daemons, in their order; none where a client is all there is. */
  readonly daemons: readonly number[]
  /** Processes of the clients, where they are not the nodes' daemons themselves. */
  readonly clients: readonly number[]
  /** Lets all nodes begin. */
  go(): void
  /** Processes that serve all nodes. */
  readonly shared: readonly number[]
  /** Bytes that upstream has sent as content, where it is not the registry that sends. */
  sent?(): Promise<number>
  /** Bytes of content that nodes have had from those of another site. */
  crossed?(): Promise<number>
  /** kill -9 the node that has fetched most from upstream. */
  killBusiest?(): Promise<{ index: number; fetched: number }>
  /** Checks what a node holds after all is over. @throws Error that says what is wrong with it */
  verify?(index: number): Promise<void>
}
