import type { Draw } from '../draw.ts'
import type { Lan } from '../lan.ts'
import type { Node } from '../node.ts'
import type { Kind } from '../schedule.ts'
import type { Upstream } from '../upstream.ts'

/** What a fault may touch. */
export interface Scene {
  readonly lan: Lan
  readonly upstream: Upstream
  /** Those whom it befalls; the first one is `node`. */
  readonly nodes: readonly Node[]
  readonly node: Node
  /** The one that takes part and is not harmed; `node` where there is none. */
  readonly from: Node
  readonly draw: Draw
  /** Says what was done, for the journal. */
  note(text: string): void
  /** Says what must not be. */
  violate(text: string): void
}

/** One kind of fault: it begins, and what that gives ends it. */
export interface Fault extends Kind {
  begin(scene: Scene): Promise<() => Promise<void>>
}

/** What there is nothing to end of. */
export const nothing = async () => {}
