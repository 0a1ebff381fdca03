import type { Mode } from '../front.ts'
import { UPSTREAM_HOST } from '../lan.ts'
import type { Fault } from './fault.ts'

/** The registry is there and does not do what it should. */
const failing = (kind: string, mode: Mode, weight: number): Fault => ({
  kind,
  weight,
  seconds: [5, 60],
  befalls: 'upstream',
  async begin({ upstream }) {
    upstream.set(mode)
    return async () => upstream.set('well')
  },
})

export const upstreamFaults: readonly Fault[] = [
  failing('upstream refuses connections', 'away', 2),
  failing('upstream is silent', 'silent', 2),
  failing('upstream is slow', 'slow', 2),
  failing('upstream answers 503', 'failing', 2),
  failing('upstream cuts bodies', 'cutting', 2),
  {
    kind: 'upstream is cut off in silence',
    weight: 1,
    seconds: [5, 60],
    befalls: 'upstream',
    async begin({ lan }) {
      await lan.setPort(UPSTREAM_HOST, false)
      return () => lan.setPort(UPSTREAM_HOST, true)
    },
  },
]
