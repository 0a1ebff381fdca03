import { beforeAll, describe, expect, test } from 'vitest'
import { effectiveDocument } from '../../../config/effective.ts'
import type { RegistryConfig } from '../../../config/schema.ts'
import { type CertificatePair, certificateFor } from '../../fixtures/certificates.ts'
import { selfSigned } from '../../fixtures/fake-upstream/tls.ts'
import { type Given, load, problems } from './load.ts'

let pair: CertificatePair
let other: CertificatePair

beforeAll(async () => {
  pair = await certificateFor('a.example')
  other = await certificateFor('b.example')
})

const docker = 'upstream: { dockerCerts: docker }\nregistries: {}'
const containerd = 'upstream: { containerdHosts: hosts }\nregistries: {}'

/** The options of registries with the folder of the configuration left out of their paths. */
function registries(given: Given): Record<string, Partial<RegistryConfig>> {
  const text = JSON.stringify(load(given).registries)
  return JSON.parse(text.replace(/\/[^"]*layerd-config-\w+\//g, ''))
}

describe("Docker's folder", () => {
  test('gives authorities and a client certificate by registry, which is put on the list', () => {
    const files = {
      'docker/a.example/ca.crt': selfSigned.cert,
      'docker/a.example/more.crt': selfSigned.cert,
      'docker/a.example/client.cert': pair.cert,
      'docker/a.example/client.key': pair.key,
      'docker/b.example:5000/ca.crt': selfSigned.cert,
      'docker/registry-1.docker.io/ca.crt': selfSigned.cert,
      'docker/README': 'no folder',
      'docker/not a registry/ca.crt': 'nor is this',
    }
    expect(registries({ yaml: docker, files })).toMatchObject({
      'a.example': {
        endpoint: 'https://a.example',
        ca: ['docker/a.example/ca.crt', 'docker/a.example/more.crt'],
        cert: 'docker/a.example/client.cert',
        key: 'docker/a.example/client.key',
      },
      'b.example:5000': { endpoint: 'https://b.example:5000', ca: ['docker/b.example:5000/ca.crt'] },
      'docker.io': { endpoint: 'https://registry-1.docker.io' },
    })
    expect(Object.keys(load({ yaml: docker, files }).registries)).toHaveLength(3)
  })

  test('is read only where it is named', () => {
    expect(registries({ yaml: 'registries: {}', files: { 'docker/a.example/ca.crt': selfSigned.cert } })).toEqual({})
    expect(registries({ yaml: docker })).toEqual({})
  })

  test.each([
    ['a certificate without key', { 'client.cert': 'cert' }, [/a\.example\|\|expected the key client\.key beside/]],
    ['a key without certificate', { 'client.key': 'key' }, [/\|\|expected the client certificate client\.cert beside/]],
    ['what is no authority', { 'ca.crt': 'hello' }, [/a\.example\|registries\["a\.example"\]\.ca\|expected PEM/]],
  ] as const)('%s is a problem of the folder', (_what, entries, expected) => {
    const files = Object.fromEntries(Object.entries(entries).map(([name, text]) => [`docker/a.example/${name}`, text]))
    expect(problems({ yaml: docker, files })).toEqual(expected.map((text) => expect.stringMatching(text)))
  })

  test('of two client certificates nobody says which', () => {
    const files = Object.fromEntries(
      ['one', 'two'].flatMap((name) => [
        [`docker/a.example/${name}.cert`, pair.cert],
        [`docker/a.example/${name}.key`, pair.key],
      ]),
    )
    expect(problems({ yaml: docker, files })).toEqual([
      expect.stringMatching(/a\.example\|\|expected one client certificate, got one\.cert and two\.cert/),
    ])
  })
})

describe("containerd's folder", () => {
  test.each<[what: string, registry: string, toml: string, expected: object]>([
    ['a server', 'a.example', 'server = "http://10.0.0.1:5000"', { endpoint: 'http://10.0.0.1:5000' }],
    ['a server without scheme', 'a.example', 'server = "b.example:5000"', { endpoint: 'https://b.example:5000' }],
    ['the version in its path', 'a.example', 'server = "https://b.example/v2"', { endpoint: 'https://b.example' }],
    [
      'a path that is the root',
      'a.example',
      'server = "https://b.example/v2/proxy"\noverride_path = true',
      { endpoint: 'https://b.example/v2/proxy', overridePath: true },
    ],
    ['no server', 'a.example', 'skip_verify = true', { endpoint: 'https://a.example', insecure: true }],
    [
      'Docker Hub by the name that it does not have',
      'docker.io',
      'server = "https://docker.io"\nca = "ca.pem"',
      { endpoint: 'https://registry-1.docker.io', ca: ['hosts/docker.io/ca.pem'] },
    ],
    [
      'mirrors',
      'a.example',
      'server = "https://a.example"\n[host."http://127.0.0.1:5050"]\nskip_verify = true\noverride_path = true',
      { endpoint: 'https://a.example', insecure: false, overridePath: false },
    ],
    [
      "the server's own table",
      'a.example',
      'server = "https://b.example"\nca = "x.pem"\n[host."https://b.example/v2/"]\nskip_verify = true\nca = ["ca.pem"]',
      { endpoint: 'https://b.example', insecure: true, ca: ['hosts/a.example/ca.pem'] },
    ],
    [
      'this node as its server',
      'a.example',
      'server = "http://127.0.0.1:5050/v2/a.example"\noverride_path = true\nskip_verify = true',
      { endpoint: 'https://a.example', overridePath: false, insecure: false },
    ],
    [
      'a pair of files',
      'a.example',
      'client = [["cert.pem", "key.pem"]]',
      { cert: 'hosts/a.example/cert.pem', key: 'hosts/a.example/key.pem' },
    ],
    ...['"both.pem"', '["both.pem"]', '[["both.pem", ""]]'].map((client): [string, string, string, object] => [
      `one file as ${client}`,
      'a.example',
      `client = ${client}`,
      { cert: 'hosts/a.example/both.pem', key: 'hosts/a.example/both.pem' },
    ]),
  ])('%s', (_what, registry, toml, expected) => {
    const folder = `hosts/${registry}`
    const files = {
      [`${folder}/hosts.toml`]: toml,
      [`${folder}/ca.pem`]: selfSigned.cert,
      [`${folder}/cert.pem`]: pair.cert,
      [`${folder}/key.pem`]: pair.key,
      [`${folder}/both.pem`]: pair.key + pair.cert,
    }
    expect(registries({ yaml: containerd, files })[registry]).toMatchObject(expected)
  })

  test.each([
    ['a.example:5000', 'a.example:5000'],
    ['a.example_5000_', 'a.example:5000'],
    ['a.example:443', 'a.example'],
    ['index.docker.io', 'docker.io'],
    ['_default', undefined],
  ])('the folder %s is for %s', (folder, name) => {
    const files = { [`hosts/${folder}/hosts.toml`]: 'skip_verify = true' }
    expect(Object.keys(registries({ yaml: containerd, files }))).toEqual(name === undefined ? [] : [name])
  })

  test('without hosts.toml a folder is read as Docker reads it', () => {
    const files = { 'hosts/a.example/ca.crt': selfSigned.cert }
    expect(registries({ yaml: containerd, files })['a.example']).toMatchObject({ ca: ['hosts/a.example/ca.crt'] })
  })

  test.each([
    ['what is no TOML', 'server = ', [/hosts\.toml:1:\d+\|\|/]],
    ['a secret in what is no TOML', '[header]\nAuthorization = ["Basic hunter2"', [/hosts\.toml:2:\d+\|\|[^\n]*$/]],
    ['a server that is none', 'server = "ftp://a"', [/hosts\.toml\|server\|expected an http/]],
    ['credentials in it', 'server = "https://me:hunter2@a.example"', [/hosts\.toml\|server\|expected an http/]],
    ['a number for a path', 'ca = 5', ['hosts/a.example/hosts.toml|ca|expected a path or a list of paths']],
    ['a word for a switch', 'skip_verify = "no"', ['hosts/a.example/hosts.toml|skip_verify|expected true or false']],
    ['two certificates', 'client = ["a.pem", "b.pem"]', [/hosts\.toml\|client\|expected one path, or one pair/]],
    [
      'a file that is not there',
      'ca = "ca.pem"',
      [
        'hosts/a.example/hosts.toml|registries["a.example"].ca|expected a file that can be read; there is none at hosts/a.example/ca.pem',
      ],
    ],
  ])('%s is a problem of the file', (_what, toml, expected) => {
    const found = problems({ yaml: containerd, files: { 'hosts/a.example/hosts.toml': toml } })
    expect(found).toEqual(expected.map((text) => (typeof text === 'string' ? text : expect.stringMatching(text))))
    expect(found.join()).not.toContain('hunter2')
  })
})

test('what the configuration says comes first, then containerd, then Docker', () => {
  const files = {
    'docker/a.example/ca.crt': selfSigned.cert,
    'docker/a.example/client.cert': other.cert,
    'docker/a.example/client.key': other.key,
    'hosts/a.example/hosts.toml':
      'server = "https://b.example"\nskip_verify = true\nclient = [["../cert.pem", "../key.pem"]]',
    'hosts/cert.pem': pair.cert,
    'hosts/key.pem': pair.key,
  }
  const yaml = `upstream: { dockerCerts: docker, containerdHosts: hosts }
registries: { a.example: { insecure: false }, c.example: }`
  const env = { LAYERD_REGISTRIES_A_EXAMPLE_RESPONSE_TIMEOUT: '1s' }
  expect(registries({ yaml, env, files })).toMatchObject({
    'a.example': {
      endpoint: 'https://b.example',
      cert: 'hosts/cert.pem',
      insecure: false,
      responseTimeout: 1000,
    },
    'c.example': {},
  })
  const explicit = { ...env, LAYERD_REGISTRIES: 'a.example=https://d.example' }
  expect(registries({ yaml, env: explicit, files })['a.example']).toMatchObject({ endpoint: 'https://d.example' })
})

test('a variable names the folder, and the effective configuration shows what was found', () => {
  const files = { 'hosts/a.example/hosts.toml': 'skip_verify = true' }
  const env = { LAYERD_UPSTREAM_CONTAINERD_HOSTS: 'hosts', LAYERD_REGISTRIES_A_EXAMPLE_USERNAME: 'me' }
  expect(problems({ env, files })).toEqual([expect.stringMatching(/username\|expected a password beside it/)])
  const { LAYERD_UPSTREAM_CONTAINERD_HOSTS } = env
  const text = effectiveDocument(load({ env: { LAYERD_UPSTREAM_CONTAINERD_HOSTS }, files }))
  expect(text).toMatch(/a\.example:\n {4}endpoint: https:\/\/a\.example\n(?: {4}.*\n)* {4}insecure: true/)
})

test('a folder that cannot be read is a problem', () => {
  const given = { yaml: 'upstream: { containerdHosts: hosts }', files: { hosts: 'a file' } }
  expect(problems(given)).toEqual([expect.stringMatching(/hosts\|upstream\.containerdHosts\|.*ENOTDIR/)])
})

test('what is written for one host is not used where the registry is asked elsewhere', () => {
  const files = {
    'hosts/a.example/hosts.toml': 'skip_verify = true\nca = "ca.pem"',
    'hosts/a.example/ca.pem': selfSigned.cert,
    'hosts/b.example/hosts.toml': 'server = "https://127.0.0.1:5050"\nskip_verify = true',
  }
  const yaml = `upstream: { containerdHosts: hosts }
registries: { a.example: { endpoint: https://cache.elsewhere.example } }`
  const found = registries({ yaml, files })
  expect(found['a.example']).toMatchObject({ endpoint: 'https://cache.elsewhere.example', insecure: false })
  expect(found['a.example']?.ca).toBeUndefined()
  expect(found['b.example']).toMatchObject({ endpoint: 'https://b.example', insecure: false })
})
