import { z } from 'zod'
import { nameOptions } from './names-schema.ts'
import { adminSection, controlSection } from './operator-schema.ts'
import { wellKnownRegistries } from './registries.ts'
import {
  address,
  duration,
  filePath,
  filePaths,
  freshness,
  httpUrl,
  isPattern,
  optionalAddress,
  proxy,
  registryName,
  repositoryPattern,
  room,
  serverName,
  size,
  tagPattern,
  timeout,
  timeoutText,
  wait,
} from './scalars.ts'
import { swarmSection } from './swarm-schema.ts'

/**
 * Every option: type, default, unit and help text, in one place. The YAML file, the `LAYERD_*` variables, the flags,
 * `config/default.yaml` and the help texts are all derived from it.
 */

const registry = z.strictObject({
  endpoint: httpUrl.describe('Base URL of the registry.'),
  overridePath: z
    .boolean()
    .default(false)
    .describe('The path of endpoint is the whole root of the API: /v2 is not added (override_path of containerd).'),
  username: z.string().min(1).optional().describe('User name. Comes before what the Docker config file says.'),
  password: z
    .string()
    .min(1)
    .optional()
    .meta({ secret: true })
    .describe('Password or access token that goes with username.'),
  ca: filePaths.optional().describe('PEM files with certificate authorities to trust for this registry.'),
  cert: filePath
    .optional()
    .describe('PEM file with the client certificate. Only the host of endpoint gets it, not the hosts that it names.'),
  key: filePath.optional().describe('PEM file with the private key of cert, without a passphrase.'),
  insecure: z.boolean().default(false).describe('Accept any TLS certificate of this registry.'),
  proxy: proxy
    .optional()
    .describe('Overrides upstream.proxy for this registry and the hosts that it names, loopback included.'),
  authRealms: z
    .array(httpUrl)
    .default([])
    .describe('Token services on other domains that this registry may send us to, as URL prefixes.'),
  insecureRedirects: z
    .boolean()
    .default(false)
    .describe(
      'Follow redirects of content that has a digest from https to http. Whoever is on the way can see which layers are pulled; they are verified in any case.',
    ),
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
      loginListen: optionalAddress.describe(
        'A second address of the mirror that asks its clients to log in (host:port): podman, skopeo and Docker only then send what their user gave. It goes to the registry that a request names, and nowhere else. Without a login nothing is answered there, public images included, so that nobody gets what only the credentials of the node open. It is plain HTTP: passwords can be read on the way, so keep it on loopback. A registry that looks at the client certificate of the node alone opens for any login.',
      ),
      localName: registryName
        .refine((name) => !isPattern(name), { message: 'expected one name, not a pattern' })
        .default('localhost')
        .describe(
          'Name of the registry of this node itself, for images that are pushed to it: the ns of containerd, or the beginning of a path, as in 127.0.0.1:5050/localhost/app. Names at the address of the node, as in localhost:5050/app, are of the same registry.',
        ),
      push: z
        .enum(['loopback', 'always', 'never'])
        .default('loopback')
        .describe(
          'Who may push images to this node, and delete them: programs of its own machine (loopback), everybody who reaches the address where it listens (always), or nobody (never).',
        ),
      ...nameOptions,
      hosts: z
        .array(serverName)
        .default([])
        .describe(
          'Names by which clients reach this node, here and at admin.listen, beside localhost and IP addresses: "mirror.example.com", "*.cluster.local". Requests for any other name are refused. Whoever owns a name in this list can let web pages read what this node serves, so name only what is yours.',
        ),
      lendCredentials: z
        .enum(['loopback', 'all', 'none'])
        .default('loopback')
        .describe(
          'Clients without a login of their own for whom the credentials and client certificates of this node are used: those that connect by loopback, all, or none. Others get what anybody gets. Risk: with loopback every user of the machine, and every container in its network, can pull the private images that this node can; with all everybody who reaches registry.listen.',
        ),
      shutdownTimeout: wait(30_000).describe('How long running responses may take to finish when the node stops.'),
    })
    .prefault({})
    .describe('The registry mirror that container clients talk to.'),
  admin: adminSection,
  control: controlSection,
  store: z
    .strictObject({
      maxSize: size(50 * 2 ** 30).describe(
        'Quota for blobs on disk. The least recently used are evicted; a blob larger than this is passed through.',
      ),
      minFree: room('5%').describe(
        'What stays free on the disk of dataDir, whoever fills it: blobs are evicted before, and what has no room is passed through. A share counts for 10 GiB at most. In any case 16 MiB stay free for the databases, or 5 % of a smaller disk.',
      ),
      scrubRate: size(8 * 2 ** 20).describe(
        'Bytes a second that the background check of blobs on disk may read; 0 turns it off.',
      ),
      completeRate: size(16 * 2 ** 20).describe(
        'Bytes a second, on average, for what a client did not fetch of an image that it has pulled, as it had it already: so that others get the image whole from this node, without its registry. It is fetched in the background, from peers first, where peers may have it, and into free room only. 0 turns it off.',
      ),
      completeLimit: size(4 * 2 ** 30).describe('An image that lacks more than this is left as it is.'),
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
  swarm: swarmSection,
  upstream: z
    .strictObject({
      dockerConfig: filePath
        .default('~/.docker/config.json')
        .describe('Docker config file with credentials (auths, credHelpers, credsStore); absent is fine.'),
      connectTimeout: timeout(5_000).describe('Until a connection to a registry stands.'),
      responseTimeout: timeout(60_000).describe(
        'Until the headers of a response are there. Registries that fetch an image themselves take their time.',
      ),
      idleTimeout: timeout(20_000).describe('Longest silence within a body.'),
      attempts: z
        .number()
        .int()
        .min(1)
        .max(20)
        .default(4)
        .describe('How often a request is tried when upstream fails in a way that may pass.'),
      userAgent: z
        .string()
        .regex(/^[!-~][ -~]{0,199}$/, 'expected up to 200 visible characters')
        .optional()
        .describe(
          "User-Agent of requests, for registries that refuse those that they don't know; layerd/VERSION by default.",
        ),
      offlineFor: duration(5_000).describe(
        'How long a registry that could not be reached is left alone. Then it is asked in the background, with pauses that double up to a minute, and at once when the network of this machine changes. Until it answers, nobody waits for it.',
      ),
      proxy: z
        .strictObject({
          http: proxy.optional().describe('Proxy for http:// URLs; without it what HTTP_PROXY or http_proxy says.'),
          https: proxy.optional().describe('Proxy for https:// URLs; without it what HTTPS_PROXY or https_proxy says.'),
          except: z
            .array(z.string().min(1))
            .optional()
            .describe(
              'Hosts that are asked directly: names (with all names below), addresses, CIDR blocks, each with or without a port, or *. Without it what NO_PROXY or no_proxy says.',
            ),
        })
        .prefault({})
        .describe(
          'HTTP proxies on the way to registries. Loopback is always asked directly. Traffic between peers never goes through a proxy.',
        ),
      anyRegistry: z
        .boolean()
        .default(false)
        .describe(
          'Ask registries that are not on the list, too, by https, where their name and addresses are public. Whoever can use this mirror can make it send requests to any public host then. Through a proxy only the name is checked: the proxy must refuse private addresses.',
        ),
      dockerCerts: filePath
        .optional()
        .describe(
          'Folder of certificates by registry as Docker has it, such as /etc/docker/certs.d; absent is fine. Registries in it are added to the list.',
        ),
      containerdHosts: filePath
        .optional()
        .describe(
          'Folder of hosts.toml files by registry as containerd has it, such as /etc/containerd/certs.d; absent is fine. Of each, the server and its TLS settings are used; mirrors and _default are not. Registries in it are added to the list.',
        ),
    })
    .prefault({})
    .describe('How registries are asked.'),
  registries: z
    .record(registryName, registry)
    .prefault(wellKnownRegistries)
    .describe(
      'The closed list of registries that may be asked, by the name in references. A list here replaces it. An entry such as "*.example.com" holds for all names below example.com, at https:// and the name.',
    ),
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
      public: z
        .array(repositoryPattern)
        .default([])
        .describe(
          'Repositories of which any peer of an open swarm may hear and get what their registry gives without credentials, such as "registry.example.com/open/**". Without an entry here that is so for well-known public registries at their own addresses only, once they have given something of a repository to somebody without credentials. Strangers in the network get what is named here though only the network protects the registry, and names and digests that clients ask for.',
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
        'How long upstream may take to say what a tag is, before what it last said to this node (or to a member of a closed swarm) is used.',
      ),
      trustPeers: z
        .enum(['never', 'closed', 'offline', 'always'])
        .default('closed')
        .describe(
          'Whose word on what a tag is counts beside that of its registry. never: nobody else is asked. closed: members of a swarm with swarmKey or allowedPeers, where one node then asks the registry for all. offline: strangers in an open swarm, too, for tags that this node has never heard of, while the registry can not be reached at all. always: strangers as if they were members, but that what this node knows comes first where the registry gives no answer. With offline and always anybody who can reach the node, such as any machine in a Wi-Fi, can give it another image under the same tag; pull by digest there.',
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

/** The options of a registry that only has an endpoint. */
export const registryAt = (endpoint: string): RegistryConfig => registry.parse({ endpoint })

export type ListenAddress = Config['registry']['listen']
