import type { PeerId } from '../swarm/ports.ts'
import { Sharing } from './sharing.ts'

/**
 * A sharing that knows nobody but this node: what is fetched by it comes from upstream alone, and no peer can hear of it, as there is
 * no way to any.
 * @param self this node
 */
export function lonelySharing(self: PeerId): Sharing {
  const nobody = async () => []
  return new Sharing({
    swarm: {
      self,
      links: {
        send: () => {},
        sendPart: async () => {
          throw new Error('there is no peer')
        },
      },
      coordination: {
        coordinators: async () => [self],
        recorded: nobody,
        announced: nobody,
        tell: async () => {
          throw new Error('there is no peer')
        },
      },
      siteOf: () => undefined,
      canGive: () => false,
    },
    content: { open: async () => undefined, list: async () => undefined },
    onMoved: () => {},
  })
}
