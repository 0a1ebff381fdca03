import { z } from 'zod'
import { address, filePath } from './scalars.ts'

export const adminSection = z
  .strictObject({
    listen: address('127.0.0.1:5051').describe('Where health, metrics and the JSON API are served (host:port).'),
    minPeers: z
      .number()
      .int()
      .min(0)
      .max(4096)
      .default(0)
      .describe(
        'Peers to fetch from that the node needs to count as ready (/readyz). 0 turns it off: a node that is alone serves its clients from upstream. The first nodes of a fleet are not ready before others are up.',
      ),
  })
  .prefault({})
  .describe('For operators.')

export const controlSection = z
  .strictObject({
    socket: filePath
      .optional()
      .describe(
        'Unix socket for commands that change something, such as "layerd pull"; control.sock in dataDir by default. Only the user of the node may use it. At most 107 bytes.',
      ),
  })
  .prefault({})
  .describe('Commands to a running node.')
