import type { Images } from './images.ts'
import type { Journal } from './journal.ts'
import type { Lan } from './lan.ts'
import type { Node } from './node.ts'
import type { Options } from './options.ts'
import type { Troubles } from './troubles.ts'
import type { Upstream } from './upstream.ts'

/** All that a run consists of. */
export interface World {
  readonly options: Options
  readonly lan: Lan
  readonly upstream: Upstream
  readonly nodes: readonly Node[]
  readonly images: Images
  readonly troubles: Troubles
  readonly journal: Journal
}
