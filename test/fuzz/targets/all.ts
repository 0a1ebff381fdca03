import type { Target } from '../target.ts'
import { libp2pTargets } from './libp2p.ts'
import { linkTargets } from './links.ts'
import { requestTargets } from './requests.ts'
import { routingTargets } from './routing.ts'
import { upstreamTargets } from './upstream.ts'

export const targets: readonly Target[] = [
  ...libp2pTargets,
  ...linkTargets,
  ...requestTargets,
  ...routingTargets,
  ...upstreamTargets,
]
