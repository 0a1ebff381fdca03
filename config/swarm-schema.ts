import { z } from 'zod'
import { addresses, announcedAddresses, filePath, multiaddr, peerId, seed, wait } from './scalars.ts'

/** Names of sites; peers tell them. */
export const sitePattern = /^[!-~]{1,64}$/

/** The options of `swarm`, see {@link configSchema}. */
export const swarmSection = z
  .strictObject({
    listen: addresses('[::]:4050').describe(
      'libp2p addresses for the DHT and control messages (host:port, TCP). [::] is all of both families, 0.0.0.0 all of IPv4.',
    ),
    transferListen: addresses('[::]:4051').describe(
      'Addresses for blob transfer between peers (host:port, HTTPS), all with one port. [::] is all of both families.',
    ),
    announce: z
      .array(multiaddr)
      .default([])
      .describe('Multiaddrs to announce in place of the ones that the node sees itself, for NAT.'),
    transferAnnounce: announcedAddresses.describe(
      'Where else peers reach transferListen (host:port): behind a port map with other numbers. They try the address that they see this node at, with its own port, as well, and take what answers with the certificate of this node.',
    ),
    seeds: z
      .array(seed)
      .default([])
      .describe(
        'Peers to connect to: multiaddrs with or without a PeerId (/dns4/layerd.example/tcp/4050), or host:port.',
      ),
    mdns: z.boolean().default(true).describe('Find peers on the local network by multicast DNS.'),
    swarmKey: filePath
      .optional()
      .describe('File with the pre-shared key (libp2p pnet format) that closes the swarm to others.'),
    allowedPeers: z
      .array(peerId)
      .default([])
      .describe('PeerIds that may connect; empty means all that can reach the node (and know the swarm key).'),
    site: z
      .string()
      .regex(sitePattern, 'expected up to 64 visible ASCII characters')
      .optional()
      .describe(
        'Name of the site (data centre, zone, rack) where this node is. Between sites each blob is moved once, as from upstream: set it where links between sites are slow or cost something. Nodes without one count as near all others.',
      ),
    lookupTimeout: wait(25).describe(
      'How long what can not be shared by chunks (sha512, or a registry that names no length) waits for peers before upstream is asked as well; longer where that has nothing.',
    ),
    maxConnections: z
      .number()
      .int()
      .min(16)
      .max(10_000)
      .default(100)
      .describe(
        'Peers that a node is connected with at most. In a larger swarm each node knows some of the others, and reaches the rest by way of those.',
      ),
    uploads: z.number().int().min(1).max(4096).default(32).describe('Transfers to peers at the same time.'),
  })
  .prefault({})
  .describe('The peers.')
