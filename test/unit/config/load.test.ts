import { describe, expect, test } from 'vitest'
import { unusableProxies } from '../../../config/proxy-environment.ts'
import { wellKnownRegistries } from '../../../config/registries.ts'
import { configSchema } from '../../../config/schema.ts'
import { selfSigned } from '../../fixtures/fake-upstream/tls.ts'
import { home, load, problems } from './load.ts'

const names = (given: Parameters<typeof load>[0]) => Object.keys(load(given).registries)
const wellKnown = Object.keys(wellKnownRegistries)

test('nothing given gives the defaults, with absolute paths', () => {
  const defaults = configSchema.parse({})
  expect(load({})).toEqual({
    ...defaults,
    dataDir: `${home}/.local/share/layerd`,
    upstream: { ...defaults.upstream, dockerConfig: `${home}/.docker/config.json` },
  })
})

describe('strength', () => {
  const yaml = 'store: { maxSize: 1 GiB }\nlog: { level: warn }\nregistry: { shutdownTimeout: 1s }\n'
  const env = { LAYERD_STORE_MAX_SIZE: '2GiB', LAYERD_LOG_LEVEL: 'debug' }

  test('flags over variables over the file over defaults', () => {
    const config = load({ yaml, env, flags: { maxSize: '3GiB' } })
    expect(config.store.maxSize).toBe(3 * 2 ** 30)
    expect(config.log.level).toBe('debug')
    expect(config.registry.shutdownTimeout).toBe(1000)
    expect(config.tags.freshFor).toBe(10_000)
  })

  test('lists are replaced, not joined', () => {
    const config = load({ yaml: 'swarm: { seeds: [a.example:1] }', flags: { seed: ['b.example:2', 'c.example:3'] } })
    expect(config.swarm.seeds).toEqual(['b.example:2', 'c.example:3'])
  })

  test('LAYERD_CONFIG names the file, and --config another one', () => {
    const files = { 'a.yaml': 'swarm: { uploads: 7 }' }
    expect(load({ files, env: { LAYERD_CONFIG: 'a.yaml' } }).swarm.uploads).toBe(7)
    expect(load({ files, env: { LAYERD_CONFIG: 'a.yaml' }, yaml: 'swarm: { uploads: 8 }' }).swarm.uploads).toBe(8)
  })
})

describe('registries', () => {
  test('a list in the file replaces the well-known one', () => {
    expect(names({ yaml: 'registries: { ghcr.io: , my.example: { insecure: true } }' })).toEqual([
      'ghcr.io',
      'my.example',
    ])
    expect(names({ yaml: 'registries: {}' })).toEqual([])
    expect(names({ yaml: 'registries:' })).toEqual(wellKnown)
  })

  test('an entry without an endpoint has the well-known one, or https and its name', () => {
    const { registries } = load({ yaml: 'registries: { docker.io: , "my.example:5000": }' })
    expect(registries['docker.io']?.endpoint).toBe('https://registry-1.docker.io')
    expect(registries['my.example:5000']?.endpoint).toBe('https://my.example:5000')
  })

  test('a list in a variable replaces it too, and keeps what the file says about its entries', () => {
    const yaml = 'registries: { ghcr.io: { username: me, password: secret }, quay.io: {} }'
    const { registries } = load({ yaml, env: { LAYERD_REGISTRIES: 'ghcr.io=http://127.0.0.1:1, a.b = https://c' } })
    expect(Object.keys(registries)).toEqual(['ghcr.io', 'a.b'])
    expect(registries['ghcr.io']).toMatchObject({ endpoint: 'http://127.0.0.1:1', username: 'me', password: 'secret' })
  })

  test('--registry adds to the list and changes endpoints', () => {
    const flags = { registry: ['docker.io=http://127.0.0.1:5001', 'a.b=https://c'] }
    const { registries } = load({ flags })
    expect(Object.keys(registries)).toEqual([...wellKnown, 'a.b'])
    expect(registries['docker.io']?.endpoint).toBe('http://127.0.0.1:5001')
    expect(names({ flags, yaml: 'registries: { ghcr.io: }' })).toEqual(['ghcr.io', 'docker.io', 'a.b'])
  })

  test('each option of an entry has a variable', () => {
    const { registries } = load({
      env: {
        LAYERD_REGISTRIES_GHCR_IO_USERNAME: 'me',
        LAYERD_REGISTRIES_GHCR_IO_PASSWORD: '12,34',
        LAYERD_REGISTRIES_GHCR_IO_AUTH_REALMS: 'https://a.b/token, https://c.d',
        LAYERD_REGISTRIES_X_EXAMPLE_5000_INSECURE: '1',
      },
      flags: { registry: ['x.example:5000=https://x.example:5000'] },
    })
    expect(registries['ghcr.io']).toMatchObject({
      username: 'me',
      password: '12,34',
      authRealms: ['https://a.b/token', 'https://c.d'],
    })
    expect(registries['x.example:5000']?.insecure).toBe(true)
  })

  test('a variable of a registry that is not on the list is refused', () => {
    const env = { LAYERD_REGISTRIES_QUAY_IO_PASSWORD: 'hunter2' }
    const [problem, ...others] = problems({ yaml: 'registries: { ghcr.io: }', env })
    expect(problem).toMatch(/^LAYERD_REGISTRIES_QUAY_IO_PASSWORD\|\|there is no variable of this name/)
    expect(problem).not.toContain('hunter2')
    expect(others).toEqual([])
  })
})

describe('patterns', () => {
  test('have the names below them for endpoints', () => {
    const { registries } = load({ yaml: 'registries: { "*.a.b": { username: me, password: x }, "*.c:5000": }' })
    expect(registries['*.a.b']).toMatchObject({ endpoint: 'https://*.a.b', username: 'me' })
    expect(registries['*.c:5000']?.endpoint).toBe('https://*.c:5000')
  })

  test('stand alone in a list', () => {
    expect(names({ env: { LAYERD_REGISTRIES: '*.a.b, c.d=http://e' } })).toEqual(['*.a.b', 'c.d'])
    expect(names({ yaml: 'registries: {}', flags: { registry: ['*.a.b'] } })).toEqual(['*.a.b'])
  })
})

describe('proxies', () => {
  const env = { HTTP_PROXY: 'proxy:3128', https_proxy: 'https://me:x@proxy:3129', NO_PROXY: '.a.b, 10.0.0.0/8,' }

  test('are those that all programs share', () => {
    expect(load({ env }).upstream.proxy).toEqual({
      http: 'http://proxy:3128',
      https: 'https://me:x@proxy:3129',
      except: ['.a.b', '10.0.0.0/8'],
    })
    expect(load({ env: { HTTP_PROXY: 'http://upper', http_proxy: 'http://lower' } }).upstream.proxy.http).toBe(
      'http://upper',
    )
    expect(load({ env: { HTTP_PROXY: '', NO_PROXY: '' } }).upstream.proxy).toEqual({})
    const socks = { HTTPS_PROXY: 'socks5://proxy:1080', HTTP_PROXY: 'http://u:p@ss@proxy:3128/path' }
    expect(unusableProxies(socks)).toEqual(['HTTPS_PROXY'])
    expect(load({ env: socks }).upstream.proxy).toEqual({ http: 'http://u:p@ss@proxy:3128/path' })
  })

  test('unless anything else is said', () => {
    const yaml = 'upstream: { proxy: { http: none } }'
    const own = { LAYERD_UPSTREAM_PROXY_EXCEPT: 'c.d,e.f' }
    expect(load({ yaml, env: { ...env, ...own } }).upstream.proxy).toEqual({
      http: 'none',
      https: 'https://me:x@proxy:3129',
      except: ['c.d', 'e.f'],
    })
    // What only other programs can use does not matter then.
    expect(problems({ yaml, env: { HTTP_PROXY: 'socks5://proxy' } })).toEqual([])
  })

  test('of a registry are set for it', () => {
    const proxied = { LAYERD_REGISTRIES_GHCR_IO_PROXY: 'none', LAYERD_REGISTRIES_QUAY_IO_PROXY: 'http://q' }
    const { registries } = load({ env: proxied })
    expect([registries['ghcr.io']?.proxy, registries['quay.io']?.proxy]).toEqual(['none', 'http://q'])
  })
})

describe('paths', () => {
  test('may be several', () => {
    const files = { 'a.pem': selfSigned.cert, 'b.pem': selfSigned.cert }
    const one = load({ yaml: 'registries: { a.b: { ca: a.pem } }', files }).registries['a.b']
    expect(one?.ca).toEqual([expect.stringMatching(/^\/.*\/a\.pem$/)])
    const yaml = 'registries: { a.b: { ca: [a.pem, b.pem] } }'
    const env = { LAYERD_REGISTRIES_A_B_CA: 'a.pem, b.pem' }
    for (const given of [{ yaml }, { yaml: 'registries: { a.b: }', env }]) {
      const two = [/\/a\.pem$/, /\/b\.pem$/].map((path) => expect.stringMatching(path))
      expect(load({ ...given, files }).registries['a.b']?.ca).toEqual(two)
    }
  })

  test('are relative to the file or to the working directory, and ~ is the home directory', () => {
    const config = load({ yaml: 'dataDir: data\nupstream: { dockerConfig: ~/d.json }' })
    expect(config.dataDir).toMatch(/^\/.*layerd-config-\w+\/data$/)
    expect(config.upstream.dockerConfig).toBe(`${home}/d.json`)
    expect(load({ env: { LAYERD_DATA_DIR: '~' } }).dataDir).toBe(home)
    expect(load({ flags: { dataDir: '../x' } }).dataDir).toMatch(/^\/.*\/x$/)
  })

  test('a home directory that is not known is a problem', () => {
    expect(problems({ home: '', yaml: 'dataDir: /data\nupstream: { dockerConfig: /d }' })).toEqual([])
    expect(problems({ home: '', env: { LAYERD_DATA_DIR: '/data' } })).toEqual([
      'default|upstream.dockerConfig|expected an absolute path (the home directory that "~" stands for is not known), got "~/.docker/config.json"',
    ])
    expect(problems({ flags: { dataDir: '~bob/x' } })[0]).toMatch(/^--data-dir\|dataDir\|expected an absolute path/)
  })
})

test('a section without options says nothing', () => {
  expect(load({ yaml: 'swarm:\nstore:\n  # maxSize: 1 GiB\nlog: { level: }\n' })).toEqual(load({}))
  expect(load({ yaml: '' })).toEqual(load({ yaml: '# nothing\n' }))
})

describe('rules', () => {
  test('are lists in the file, and comma separated in variables', () => {
    const yaml = [
      'repositories:',
      '  neverCache: [docker.io/library/*]',
      '  neverShare:',
      '    - a.example:5000/**',
      '    - "!a.example:5000/open/**"',
      'tags: { freshness: [latest=0s, "a.example/**:v*=1h"], immutable: ["v*.*.*"] }',
    ].join('\n')
    const { repositories, tags } = load({ yaml })
    expect(repositories).toEqual({
      neverCache: ['docker.io/library/*'],
      neverShare: ['a.example:5000/**', '!a.example:5000/open/**'],
      public: [],
      alwaysAsk: [],
    })
    expect(tags).toMatchObject({ freshness: ['latest=0s', 'a.example/**:v*=1h'], immutable: ['v*.*.*'] })
    const env = {
      LAYERD_REPOSITORIES_NEVER_SHARE: 'ghcr.io/**, !ghcr.io/open/**',
      LAYERD_REPOSITORIES_PUBLIC: 'a.example/open/**',
      LAYERD_REPOSITORIES_ALWAYS_ASK: '**',
      LAYERD_TAGS_FRESHNESS: 'nightly-*=1m',
      LAYERD_TAGS_IMMUTABLE: 'v*,!v*-rc*',
    }
    const fromVariables = load({ yaml, env })
    expect(fromVariables.repositories).toEqual({
      neverCache: ['docker.io/library/*'],
      neverShare: ['ghcr.io/**', '!ghcr.io/open/**'],
      public: ['a.example/open/**'],
      alwaysAsk: ['**'],
    })
    expect(fromVariables.tags).toMatchObject({ freshness: ['nightly-*=1m'], immutable: ['v*', '!v*-rc*'] })
  })

  test.each([
    [
      { yaml: 'repositories: { neverCache: [docker.io/library/x, docker.io/alpine] }' },
      /^layerd.yaml:1:\d+\|repositories.neverCache\[1\]\|expected "docker.io\/library\/alpine" or .*, got "docker.io\/alpine"$/,
    ],
    [
      { env: { LAYERD_REPOSITORIES_NEVER_SHARE: 'ghcr.io' } },
      /^LAYERD_REPOSITORIES_NEVER_SHARE\|repositories.neverShare\[0\]\|expected a pattern registry\/repository/,
    ],
    [{ yaml: 'repositories: { neverCache: [!docker.io/x] }' }, /^layerd.yaml:1:\d+\|\|Unresolved tag/],
    [{ yaml: 'repositories: { never: [] }' }, /there is no option of this name/],
    [{ yaml: 'tags: { immutable: ["a.example/x"] }' }, /tags.immutable\[0\]\|expected a pattern of tags/],
    [{ yaml: 'tags: { freshness: [latest] }' }, /tags.freshness\[0\]\|expected a pattern of tags and a duration/],
    [
      { yaml: 'tags: { freshness: [latest=soon] }' },
      /expected a duration such as .* behind the "=", got "latest=soon"/,
    ],
    [{ yaml: 'tags: { freshness: [latest=400d] }' }, /expected a duration such as .* \(at most 365d\)/],
    [{ yaml: 'tags: { freshness: ["!latest=1s"] }' }, /expected a pattern without "!"/],
    [{ yaml: 'tags: { freshness: ["=1s"] }' }, /expected a pattern of tags/],
    [
      { yaml: 'registry: { publishers: [members, me] }' },
      /registry.publishers\[1\]\|expected members, anyone, nobody or a PeerId, .*, got "me"$/,
    ],
    [{ env: { LAYERD_REGISTRY_PUBLISHERS: 'members=Team/x' } }, /expected a pattern of names without a registry/],
    [{ yaml: 'registry: { publishers: ["anyone=a/b**"] }' }, /expected "\*\*" as a segment of its own/],
    [{ yaml: 'registry: { publishers: ["anyone="] }' }, /expected a pattern of names/],
    [{ yaml: 'registry: { offerPushes: sometimes }' }, /registry.offerPushes\|/],
  ])('that can not be meant are refused: %o', (given, message) => {
    expect(problems(given)).toEqual([expect.stringMatching(message)])
  })
})
