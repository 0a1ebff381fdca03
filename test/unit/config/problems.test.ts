import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConfigError } from '../../../config/problems.ts'
import { selfSigned } from '../../fixtures/fake-upstream/tls.ts'
import { type Given, load, problems } from './load.ts'

const swarmKey = `/key/swarm/psk/1.0.0/\n/base16/\n${'ab'.repeat(32)}\n`

const clientCertificate = (cert: string, key: string): Given => ({
  yaml: 'registries: { a.b: { cert: x, key: y } }',
  files: { x: cert, y: key },
})

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pkcs8 = { type: 'pkcs8', format: 'pem' } as const
const otherKey = privateKey.export(pkcs8).toString()
const lockedKey = privateKey.export({ ...pkcs8, cipher: 'aes-256-cbc', passphrase: 'hunter2' }).toString()

const cases: readonly [what: string, given: Given, expected: readonly (string | RegExp)[]][] = [
  [
    'an unknown option',
    { yaml: 'stroe: {}' },
    ['layerd.yaml:1:1|stroe|there is no option of this name; did you mean "store"?'],
  ],
  [
    'an unknown option in a section',
    { yaml: 'swarm:\n  upload: 3' },
    ['layerd.yaml:2:3|swarm.upload|there is no option of this name; did you mean "uploads"?'],
  ],
  [
    'an unknown option of a registry',
    { yaml: 'registries:\n  a.b:\n    user: x' },
    [/^layerd.yaml:3:5\|registries\["a\.b"\]\.user\|there is no option of this name/],
  ],
  ['a key twice', { yaml: 'log: {}\nlog: {}' }, [/^layerd.yaml:2:1\|\|Map keys must be unique/]],
  ['broken YAML', { yaml: 'log: {\n  level: info' }, [/^layerd.yaml:2:\d+\|\|/]],
  ['a list for the whole', { yaml: '- a' }, [/^layerd.yaml:1:1\|\|expected options/]],
  ['several documents', { yaml: 'log: {}\n---\nlog: {}' }, [/^layerd.yaml:\d:\d\|\|.*multiple documents/]],
  [
    'aliases without end',
    { yaml: `a: &a [${'x,'.repeat(99)}]\nb: &b [${'*a,'.repeat(99)}]\nc: [${'*b,'.repeat(99)}]` },
    [/^layerd.yaml\|\|.*alias/],
  ],
  [
    'too large a file',
    { yaml: `# ${'x'.repeat(2 ** 20)}` },
    ['layerd.yaml||the file has 1048578 bytes; at most 1048576 are read'],
  ],
  ['no such file', { env: { LAYERD_CONFIG: '/no/where.yaml' } }, ['/no/where.yaml||there is no such file']],
  ['a folder', { env: { LAYERD_CONFIG: '/' } }, ['/||this is a folder; expected a YAML file']],
  [
    'a number for text',
    { yaml: 'log: { level: 3 }' },
    [/^layerd.yaml:1:8\|log.level\|expected one of trace, .*silent, got 3$/],
  ],
  ['a wrong section', { yaml: 'log: info' }, ['layerd.yaml:1:1|log|expected a section with options, got "info"']],
  [
    'an item of a list',
    { yaml: 'swarm:\n  seeds: [a.b:1, nonsense]' },
    [/^layerd.yaml:2:18\|swarm.seeds\[1\]\|expected a multiaddr .*, got "nonsense"$/],
  ],
  [
    'text for a list',
    { yaml: 'swarm: { seeds: a.b:1 }' },
    ['layerd.yaml:1:10|swarm.seeds|expected a list, got "a.b:1"'],
  ],
  [
    'a duration without unit',
    { yaml: 'tags: { freshFor: 5 }' },
    ['layerd.yaml:1:9|tags.freshFor|expected a duration such as "250ms", "10s" or "5m", got 5'],
  ],
  [
    'no deadline',
    { env: { LAYERD_UPSTREAM_IDLE_TIMEOUT: '0s' } },
    ['LAYERD_UPSTREAM_IDLE_TIMEOUT|upstream.idleTimeout|expected a duration from 1ms to 1d, got "0s"'],
  ],
  [
    'a size that is none',
    { flags: { maxSize: 'lots' } },
    ['--max-size|store.maxSize|expected a size such as "20 GiB" or "500MB", got "lots"'],
  ],
  [
    'a quota without its unit',
    { flags: { maxSize: '50' } },
    ['--max-size|store.maxSize|expected at least 16 MiB, got 50 B'],
  ],
  [
    'more of the disk than can be kept free',
    { env: { LAYERD_STORE_MIN_FREE: '91%' } },
    [
      'LAYERD_STORE_MIN_FREE|store.minFree|expected a size such as "10 GiB", or a share of the disk from 0% to 90% such as "5%", got "91%"',
    ],
  ],
  [
    'half a number',
    { env: { LAYERD_SWARM_UPLOADS: '1.5' } },
    ['LAYERD_SWARM_UPLOADS|swarm.uploads|expected a whole number from 1 to 4096, got 1.5'],
  ],
  [
    'no number',
    { env: { LAYERD_SWARM_UPLOADS: 'all' } },
    ['LAYERD_SWARM_UPLOADS|swarm.uploads|expected a whole number from 1 to 4096, got "all"'],
  ],
  [
    'no port',
    { flags: { listen: 'localhost' } },
    [/^--listen\|registry.listen\|expected host:port .*, got "localhost"$/],
  ],
  ['too high a port', { flags: { p2pListen: '0.0.0.0:65536' } }, [/^--p2p-listen\|swarm.listen\|expected host:port/]],
  [
    'a registry without URL',
    { flags: { registry: ['docker.io'] } },
    [/^--registry\|registries\|expected NAME=URL .*, got "docker.io"$/],
  ],
  [
    'a registry name that is none',
    { env: { LAYERD_REGISTRIES: 'Docker.io=https://a.b' } },
    [/^LAYERD_REGISTRIES\|registries\["Docker.io"\]\|expected a registry name .*, got "Docker.io"$/],
  ],
  [
    'a registry with a wrong port',
    { yaml: 'registries: { "a.b:99999": }' },
    [/^layerd.yaml:1:15\|registries\["a.b:99999"\]\|expected a registry name/],
  ],
  ["another name of Docker Hub's", { flags: { registry: ['index.docker.io=https://a.b'] } }, [/expected "docker.io"/]],
  [
    'credentials in a URL',
    { flags: { registry: ['a.b=https://me:hunter2@c.d'] } },
    [/^--registry\|registries\["a.b"\].endpoint\|expected .*, got "https:\/\/\*\*\*@c.d"$/],
  ],
  [
    'a password that is a number',
    { yaml: 'registries: { a.b: { username: x, password: 4711 } }' },
    [/^layerd.yaml:1:\d+\|registries\["a.b"\].password\|expected text \(in quotes, .*\), got something else$/],
  ],
  [
    'a username alone',
    { yaml: 'registries: { a.b: { username: x } }' },
    [/\|registries\["a.b"\].username\|expected a password beside it/],
  ],
  [
    'a password alone',
    { env: { LAYERD_REGISTRIES_GHCR_IO_PASSWORD: 'x' } },
    ['LAYERD_REGISTRIES_GHCR_IO_PASSWORD|registries["ghcr.io"].password|expected a username beside it, got none'],
  ],
  [
    'the mirror as its own upstream',
    { flags: { registry: ['a.b=http://localhost:5050'] } },
    [/^--registry\|registries\["a.b"\].endpoint\|expected the registry's own address/],
  ],
  [
    'an upstream with the name of the registry of the node itself',
    { yaml: 'registry: { localName: a.b }\nregistries: { a.b: { endpoint: https://a.b } }' },
    [/\|registries\["a.b"\]\|expected another name than "a.b", which registry.localName gives to this node itself$/],
  ],
  [
    'a pattern as the name of the node itself',
    { yaml: 'registry: { localName: "*.a.b" }' },
    [/\|registry.localName\|expected one name, not a pattern/],
  ],
  [
    'one address twice',
    { flags: { admin: '127.0.0.1:5050' } },
    ['--admin|admin.listen|expected an address of its own, got port 5050, which registry.listen has'],
  ],
  [
    'the address that asks for a login twice',
    { env: { LAYERD_REGISTRY_LOGIN_LISTEN: '0.0.0.0:5051' } },
    [
      'LAYERD_REGISTRY_LOGIN_LISTEN|admin.listen|expected an address of its own, got port 5051, which registry.loginListen has',
    ],
  ],
  [
    'an upstream that is the address that asks for a login',
    { env: { LAYERD_REGISTRY_LOGIN_LISTEN: '127.0.0.1:5052' }, flags: { registry: ['a.b=http://localhost:5052'] } },
    [/^--registry\|registries\["a.b"\].endpoint\|expected the registry's own address/],
  ],
  [
    'no address that asks for a login',
    { env: { LAYERD_REGISTRY_LOGIN_LISTEN: 'nowhere' } },
    [/^LAYERD_REGISTRY_LOGIN_LISTEN\|registry.loginListen\|expected host:port/],
  ],
  [
    'one address within another',
    { flags: { listen: '127.0.0.1:4051' } },
    ['--listen|swarm.transferListen|expected an address of its own, got port 4051, which registry.listen has'],
  ],
  [
    'a list of addresses with one that is none',
    { yaml: 'swarm: { listen: ["0.0.0.0:4050", "nowhere"] }' },
    [/^layerd.yaml:1:\d+\|swarm.listen\[1\]\|expected host:port such as .*, got "nowhere"$/],
  ],
  [
    'no address',
    { yaml: 'swarm: { transferListen: [] }' },
    [/^layerd.yaml:1:10\|swarm.transferListen\|expected host:port, or a list of them such as .*, got a list$/],
  ],
  [
    'two ports for transfer',
    { yaml: 'swarm: { transferListen: ["10.0.0.1:4051", "10.0.0.2:4052"] }' },
    ['layerd.yaml:1:10|swarm.transferListen|expected one port for all addresses, got 4051 and 4052'],
  ],
  [
    'addresses of one list within each other',
    { yaml: 'swarm: { listen: ["0.0.0.0:4050", "[::]:4050"], transferListen: ["0.0.0.0:4051", "[::]:4051"] }' },
    [],
  ],
  [
    'one address of a list taken',
    { yaml: 'swarm: { listen: ["10.0.0.1:4050", "10.0.0.2:4051"], transferListen: "[::]:4051" }' },
    [
      /^layerd.yaml:1:\d+\|swarm.transferListen\|expected an address of its own, got port 4051, which swarm.listen has$/,
    ],
  ],
  [
    'an address to announce that nobody can connect to',
    { yaml: 'swarm: { transferAnnounce: ["[::]:4051"] }' },
    [
      /^layerd.yaml:1:\d+\|swarm.transferAnnounce\[0\]\|expected host:port that peers can connect to, .*, got "\[::\]:4051"$/,
    ],
  ],
  ['port 0 twice', { flags: { listen: '127.0.0.1:0', admin: '127.0.0.1:0' } }, []],
  ['one port on two addresses', { flags: { listen: '127.0.0.1:5050', admin: '127.0.0.2:5050' } }, []],
  [
    'no CA file',
    { yaml: 'registries: { a.b: { ca: ca.pem } }' },
    ['layerd.yaml:1:22|registries["a.b"].ca|expected a file that can be read; there is none at ca.pem'],
  ],
  [
    'a CA file with something else',
    { yaml: 'registries: { a.b: { ca: x } }', files: { x: 'hello' } },
    [/ca\|expected PEM certificates, got a file without any/],
  ],
  [
    'a broken CA',
    {
      yaml: 'registries: { a.b: { ca: x } }',
      files: { x: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
    },
    [/got one that cannot be read/],
  ],
  [
    'a certificate without its key',
    { yaml: 'registries: { a.b: { cert: x } }', files: { x: selfSigned.cert } },
    ['layerd.yaml:1:22|registries["a.b"].cert|expected a key beside it, got none'],
  ],
  [
    'a key without its certificate',
    { yaml: 'registries: { a.b: { key: x } }', files: { x: selfSigned.key } },
    ['layerd.yaml:1:22|registries["a.b"].key|expected a cert beside it, got none'],
  ],
  ['a client certificate', clientCertificate(selfSigned.cert, selfSigned.key), []],
  ['one file for both', clientCertificate(selfSigned.key + selfSigned.cert, selfSigned.cert + selfSigned.key), []],
  [
    'the key of another certificate',
    clientCertificate(selfSigned.cert, otherKey),
    ['layerd.yaml:1:31|registries["a.b"].key|expected the private key of the certificate, got another one: y'],
  ],
  [
    'a key that needs a passphrase',
    clientCertificate(selfSigned.cert, lockedKey),
    ['layerd.yaml:1:31|registries["a.b"].key|expected a private key that needs no passphrase: y'],
  ],
  [
    'a certificate for a key',
    clientCertificate(selfSigned.cert, selfSigned.cert),
    ['layerd.yaml:1:31|registries["a.b"].key|expected a private key in PEM, got something else: y'],
  ],
  [
    'a key for a certificate',
    clientCertificate(selfSigned.key, selfSigned.key),
    ['layerd.yaml:1:22|registries["a.b"].cert|expected PEM certificates, got a file without any: x'],
  ],
  [
    'a proxy that is none',
    { yaml: 'registries: { a.b: { proxy: "socks5://me:hunter2@c" } }' },
    [
      /^layerd.yaml:1:22\|registries\["a.b"\].proxy\|expected "none" or the URL of an HTTP proxy .*, got something else$/,
    ],
  ],
  [
    'a proxy with a query',
    { env: { LAYERD_UPSTREAM_PROXY_HTTPS: 'http://me:hunter2@proxy?path' } },
    [/^LAYERD_UPSTREAM_PROXY_HTTPS\|upstream.proxy.https\|expected "none" .*, got something else$/],
  ],
  [
    'a proxy of another kind',
    { env: { LAYERD_UPSTREAM_PROXY_HTTPS: 'socks5://me:hunter2@proxy' } },
    [/^LAYERD_UPSTREAM_PROXY_HTTPS\|upstream.proxy.https\|expected "none" .*, got something else$/],
  ],
  [
    'an unknown option of proxies',
    { yaml: 'upstream: { proxy: { exept: [a.b] } }' },
    ['layerd.yaml:1:22|upstream.proxy.exept|there is no option of this name; did you mean "except"?'],
  ],
  [
    'a pattern with an endpoint',
    { yaml: 'registries: { "*.a.b": { endpoint: "https://c.d" } }' },
    [
      'layerd.yaml:1:26|registries["*.a.b"].endpoint|expected no endpoint beside a pattern: it is https:// and the name, got "https://c.d"',
    ],
  ],
  [
    'a pattern within a name',
    { yaml: 'registries: { "a.*.b": }' },
    [/^layerd.yaml:1:15\|registries\["a\.\*\.b"\]\|expected a registry name/],
  ],
  [
    'a pattern of all',
    { yaml: 'registries: { "*": }' },
    [/^layerd.yaml:1:15\|registries\["\*"\]\|expected a registry name/],
  ],
  [
    'a pattern of addresses',
    { flags: { registry: ['*.0.0.1'] } },
    [/^--registry\|registries\["\*\.0\.0\.1"\]\|expected a registry name/],
  ],
  [
    'a pattern with a path for the root',
    { yaml: 'registries: { "*.a.b": { overridePath: true } }' },
    [/overridePath\|expected false for a pattern/],
  ],
  [
    'one registry with and without its port',
    { yaml: 'registries: { a.b: , "a.b:443": }' },
    [
      'layerd.yaml:1:22|registries["a.b:443"]|expected one entry for a registry, got "a.b", too; port 443 goes without saying',
    ],
  ],
  ['a swarm key', { flags: { swarmKey: 'swarm.key' }, files: { 'swarm.key': swarmKey } }, []],
  [
    'no swarm key',
    { flags: { swarmKey: 'swarm.key' } },
    ['--swarm-key|swarm.swarmKey|expected a file that can be read; there is none at swarm.key'],
  ],
  [
    'a swarm key that is none',
    { flags: { swarmKey: 'swarm.key' }, files: { 'swarm.key': 'hunter2' } },
    [/^--swarm-key\|swarm.swarmKey\|expected a file with the lines/],
  ],
  [
    'an unknown variable',
    { env: { LAYERD_LOG_LEVLE: 'x' } },
    ['LAYERD_LOG_LEVLE||there is no variable of this name; did you mean "LAYERD_LOG_LEVEL"?'],
  ],
  ['a flag-like variable', { env: { LAYERD_ADMIN_PORT: '5051' } }, [/^LAYERD_ADMIN_PORT\|\|there is no variable/]],
  [
    'no switch',
    { env: { LAYERD_SWARM_MDNS: 'maybe' } },
    ['LAYERD_SWARM_MDNS|swarm.mdns|expected true or false, got "maybe"'],
  ],
]

test.each(cases)('%s', (_what, given, expected) => {
  const found = problems(given)
  expect(found).toEqual(expected.map((text) => (typeof text === 'string' ? text : expect.stringMatching(text))))
})

test('the problems of all places are reported at once', () => {
  const found = problems({
    yaml: 'stroe: {}\nswarm: { uploads: 0, seeds: [1] }\nregistries: { a.b: { username: x } }',
    env: { LAYERD_LOG_LEVLE: 'x', LAYERD_STORE_MAX_SIZE: '5 bananas', LAYERD_REGISTRIES_A_B_CA: '/no/ca' },
    flags: { admin: '1:2:3', maxSize: '1 kB', registry: ['x'] },
  })
  const places = found.map((text) => text.split('|', 2).join('|')).sort()
  expect(places).toEqual(
    [
      'layerd.yaml:1:1|stroe',
      'layerd.yaml:2:10|swarm.uploads',
      'layerd.yaml:2:30|swarm.seeds[0]',
      'layerd.yaml:3:22|registries["a.b"].username',
      'LAYERD_LOG_LEVLE|',
      'LAYERD_STORE_MAX_SIZE|store.maxSize',
      'LAYERD_REGISTRIES_A_B_CA|registries["a.b"].ca',
      '--admin|admin.listen',
      '--max-size|store.maxSize',
      '--registry|registries',
    ].sort(),
  )
})

test('a refused value does not make others look wrong', () => {
  const given = { yaml: 'registry: { listen: nowhere }', flags: { admin: '127.0.0.1:5050' } }
  expect(problems(given)).toEqual([expect.stringMatching(/^layerd.yaml:1:13\|registry.listen/)])
})

test('Kubernetes and the tests of this project have variables of their own', () => {
  const env = {
    LAYERD_PORT: 'tcp://10.0.0.1:5050',
    LAYERD_PORT_5050_TCP_ADDR: '10.0.0.1',
    LAYERD_SERVICE_HOST: '10.0.0.1',
    LAYERD_SERVICE_PORT_REGISTRY: '5050',
    LAYERD_REGISTRY_PORT: 'tcp://10.0.0.1:5050',
    LAYERD_E2E_CACHE: '/tmp/x',
    LAYERD_LOG_LEVEL: '',
    PATH: '/bin',
  }
  expect(load({ env })).toEqual(load({}))
})

test('any file and any variables give a configuration or a ConfigError', () => {
  const name = fc.constantFrom(
    'store',
    'swarm',
    'registries',
    'maxSize',
    'seeds',
    'a.b',
    'endpoint',
    '*.a.b',
    'ca',
    'cert',
    'upstream',
    'proxy',
    'http',
    'except',
    'containerdHosts',
    '__proto__',
    'constructor',
    'x',
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('', 'a.b:1', '1s', 0, -1, true, null),
      tie('map'),
      fc.array(tie('tree'), { maxLength: 2 }),
    ),
    map: fc.array(fc.tuple(name, tie('tree')), { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs)),
  }))
  const variable = fc.constantFrom(
    'LAYERD_REGISTRIES',
    'LAYERD_SWARM_SEEDS',
    'LAYERD_REGISTRIES_A_B_CA',
    'LAYERD_DATA_DIR',
    'LAYERD_UPSTREAM_DOCKER_CERTS',
    'HTTPS_PROXY',
    'no_proxy',
  )
  const env = fc.dictionary(variable, fc.oneof(fc.string(), fc.constantFrom('a.b=https://c', 'a.b=', '=')))
  fc.assert(
    fc.property(
      fc.oneof(
        tree.map((value) => JSON.stringify(value)),
        fc.string(),
      ),
      env,
      (yaml, variables) => {
        try {
          load({ yaml, env: variables })
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError)
        }
      },
    ),
    { numRuns: 300 },
  )
})
