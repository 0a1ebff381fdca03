import { z } from 'zod'
import { wellKnownRegistries } from './registries.ts'
import {
  address,
  duration,
  filePath,
  freshness,
  httpUrl,
  multiaddr,
  peerId,
  registryName,
  repositoryPattern,
  seed,
  size,
  tagPattern,
  timeout,
  timeoutText,
  wait,
} from './scalars.ts'

/**
 * Every option: type, default, unit and help text, in one place. The YAML file, the `LAYERD_*` variables, the flags,
 * `config/default.yaml` and the help texts are all derived from it.
 */

const registry = z.strictObject({
  endpoint: httpUrl.describe('Base URL of the registry.'),
  username: z.string().min(1).optional().describe('User name. Comes before what the Docker config file says.'),
  password: z
    .string()
    .min(1)
    .optional()
    .meta({ secret: true })
    .describe('Password or access token that goes with username.'),
  ca: filePath.optional().describe('PEM file with certificate authorities to trust for this registry.'),
  insecure: z.boolean().default(false).describe('Accept any TLS certificate of this registry.'),
  authRealms: z
    .array(httpUrl)
    .default([])
    .describe('Token services on other domains that this registry may send us to, as URL prefixes.'),
  connectTimeout: timeoutText.optional().describe('Overrides upstream.connectTimeout for this registry.'),
  responseTimeout: timeoutText.optional().describe('Overrides upstream.responseTimeout for this registry.'),
  idleTimeout: timeoutText.optional().describe('Overrides upstream.idleTimeout for this registry.'),
})

export const configSchema = z.strictObject({
  dataDir: filePath
    .default('~/.local/share/layerd')
    .describe('Folder for blobs, metadata and the identity of the node.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Least severity that is logged.'),
    })
    .prefault({}),
  registry: z
    .strictObject({
      listen: address('127.0.0.1:5050').describe('Where container clients find the mirror (host:port).'),
      shutdownTimeout: wait(30_000).describe('How long running responses may take to finish when the node stops.'),
    })
    .prefault({})
    .describe('The registry mirror that container clients talk to.'),
  admin: z
    .strictObject({
      listen: address('127.0.0.1:5051').describe('Where health, metrics and the JSON API are served (host:port).'),
    })
    .prefault({})
    .describe('For operators.'),
  store: z
    .strictObject({
      maxSize: size(50 * 2 ** 30).describe(
        'Quota for blobs on disk. The least recently used are evicted; a blob larger than this is passed through.',
      ),
      scrubRate: size(8 * 2 ** 20).describe(
        'Bytes a second that the background check of blobs on disk may read; 0 turns it off.',
      ),
    })
    .prefault({})
    .describe('Blobs on disk.'),
  verify: z
    .strictObject({
      engine: z
        .enum(['auto', 'native', 'portable'])
        .default('auto')
        .describe('SHA-256 of chunks: native where an install could build it, else portable, which is slower.'),
    })
    .prefault({})
    .describe('Verification of chunks.'),
  swarm: z
    .strictObject({
      listen: address('0.0.0.0:4050').describe('libp2p address for the DHT and control messages (host:port, TCP).'),
      transferListen: address('0.0.0.0:4051').describe('Address for blob transfer between peers (host:port, HTTPS).'),
      announce: z
        .array(multiaddr)
        .default([])
        .describe('Multiaddrs to announce in place of the ones that the node sees itself, for NAT.'),
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
      lookupTimeout: wait(25).describe(
        'How long a cold request waits for peers before upstream is asked as well; longer where that has nothing.',
      ),
      uploads: z.number().int().min(1).max(4096).default(32).describe('Transfers to peers at the same time.'),
    })
    .prefault({})
    .describe('The peers.'),
  upstream: z
    .strictObject({
      dockerConfig: filePath
        .default('~/.docker/config.json')
        .describe('Docker config file with credentials (auths, credHelpers, credsStore); absent is fine.'),
      connectTimeout: timeout(5_000).describe('Until a connection to a registry stands.'),
      responseTimeout: timeout(20_000).describe('Until the headers of a response are there.'),
      idleTimeout: timeout(20_000).describe('Longest silence within a body.'),
      attempts: z
        .number()
        .int()
        .min(1)
        .max(20)
        .default(4)
        .describe('How often a request is tried when upstream fails in a way that may pass.'),
      offlineFor: duration(5_000).describe('How long a registry that could not be reached is not asked again.'),
    })
    .prefault({})
    .describe('How registries are asked.'),
  registries: z
    .record(registryName, registry)
    .prefault(wellKnownRegistries)
    .describe('The closed list of registries that may be asked, by the name in references. A list here replaces it.'),
  repositories: z
    .strictObject({
      neverCache: z
        .array(repositoryPattern)
        .default([])
        .describe(
          'Repositories of which nothing is kept on disk or shared with peers: each request is passed through from upstream.',
        ),
      neverShare: z
        .array(repositoryPattern)
        .default([])
        .describe(
          'Repositories that peers neither get nor hear anything of, and are not asked for; content is kept for own clients.',
        ),
      alwaysAsk: z
        .array(repositoryPattern)
        .default([])
        .describe(
          'Repositories of which nothing is given before upstream has said in this very request that it may be.',
        ),
    })
    .prefault({})
    .describe(
      'Rules by patterns registry/repository: * within a segment, ** for any segments; "!pattern" takes out again, the last match wins.',
    ),
  tags: z
    .strictObject({
      freshFor: duration(10_000).describe('How long a tag that upstream confirmed is answered without asking again.'),
      freshness: z
        .array(freshness)
        .default([])
        .describe(
          'The same by pattern=duration, the last match wins: "latest=0s", "registry.example.com/team/**:v*=1h".',
        ),
      immutable: z
        .array(tagPattern)
        .default([])
        .describe(
          'Patterns of tags that never move, such as "v*.*.*": once confirmed, upstream is not asked again (for 90 days).',
        ),
      patience: timeout(5_000).describe(
        'How long upstream may take to say what a tag is, before what it last said to this node or its peers is used.',
      ),
      trustPeers: z
        .enum(['closed', 'always', 'never'])
        .default('closed')
        .describe(
          'Whether one node asks upstream for all: closed means in a swarm with swarmKey or allowedPeers, as peers could lie.',
        ),
    })
    .prefault({})
    .describe('Tags.'),
  access: z
    .strictObject({
      freshFor: duration(300_000).describe(
        'How long credentials that upstream accepted open cached private content without asking again.',
      ),
      offlineFor: duration(86_400_000).describe('The same while upstream cannot be asked.'),
    })
    .prefault({})
    .describe('Private content.'),
})

/** The effective configuration: sizes in bytes, durations in ms, addresses as host and port. */
export type Config = z.output<typeof configSchema>

export type RegistryConfig = Config['registries'][string]

export type ListenAddress = Config['registry']['listen']
