import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { defaultDocument } from '../../../config/document.ts'
import { effectiveDocument } from '../../../config/effective.ts'
import { flagOptions, flagText } from '../../../config/flags.ts'
import { options, registryOptions, variableOf } from '../../../config/options.ts'
import { configSchema } from '../../../config/schema.ts'
import { load } from './load.ts'

const root = join(import.meta.dirname, '../../..')

test('config/default.yaml is what the schema says (npm run --silent layerd -- config --defaults)', () => {
  expect(readFileSync(join(root, 'config/default.yaml'), 'utf8')).toBe(defaultDocument())
})

test('config/default.yaml gives exactly the defaults', () => {
  expect(configSchema.parse(parse(defaultDocument()))).toEqual(configSchema.parse({}))
  expect(load({ yaml: defaultDocument() })).toEqual(load({}))
})

test('every option, variable and flag is in it, with help', () => {
  const text = defaultDocument()
  for (const { path, help } of options) {
    expect(help).not.toBe('')
    expect(text).toMatch(new RegExp(`^ *(# )?${path.at(-1)}:`, 'm'))
    expect(text).toContain(variableOf(path))
  }
  for (const { path, help } of registryOptions) {
    expect(help).not.toBe('')
    expect(text).toContain(`# - ${path[0]} (`)
  }
  for (const flag of flagOptions) expect(text).toContain(flagText(flag))
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120)
})

test('each option has a variable of its own', () => {
  const variables = options.map(({ path }) => variableOf(path))
  expect(new Set(variables).size).toBe(variables.length)
  expect(variableOf(['store', 'maxSize'])).toBe('LAYERD_STORE_MAX_SIZE')
  expect(variableOf(['dataDir'])).toBe('LAYERD_DATA_DIR')
})

test('the effective configuration is a configuration file that gives the same', () => {
  const size = fc.integer({ min: 2 ** 24, max: 2 ** 50 })
  const port = fc.integer({ min: 10_000, max: 65_535 })
  fc.assert(
    fc.property(size, fc.nat(86_400_000), port, fc.boolean(), (bytes, ms, number, mdns) => {
      const config = load({
        env: { LAYERD_TAGS_FRESH_FOR: `${ms}ms`, LAYERD_SWARM_MDNS: String(mdns) },
        flags: { maxSize: `${bytes}`, listen: `[::1]:${number}`, seed: ['a.b:1'], registry: ['x.y=http://z'] },
      })
      expect(load({ yaml: effectiveDocument(config) })).toEqual(config)
    }),
    { numRuns: 30 },
  )
})

test('user and password of a proxy are hidden, the rest of it is not', () => {
  const config = load({
    yaml: 'upstream: { proxy: { http: "http://me:hunter2@a.example:1" } }\nregistries: { a.b: { proxy: "https://x:hunter3@c" } }',
    env: { HTTPS_PROXY: 'http://u:hunter4@d.example:2' },
  })
  const text = effectiveDocument(config)
  expect(text).not.toContain('hunter')
  expect(parse(text)).toMatchObject({
    upstream: { proxy: { http: 'http://***@a.example:1', https: 'http://***@d.example:2' } },
    registries: { 'a.b': { proxy: 'https://***@c' } },
  })
})

test.each([
  ['2.5 %', '2.5%', { share: 0.025 }],
  ['3GiB', '3 GiB', { bytes: 3 * 2 ** 30 }],
])('a part of the disk of %j is written as %j', (text, written, value) => {
  const config = load({ env: { LAYERD_STORE_MIN_FREE: text } })
  expect([config.store.minFree, parse(effectiveDocument(config)).store.minFree]).toEqual([value, written])
})

test('secrets are hidden', () => {
  const config = load({ yaml: 'registries: { a.b: { username: me, password: hunter2 } }' })
  expect(effectiveDocument(config)).not.toContain('hunter2')
  expect(parse(effectiveDocument(config)).registries['a.b']).toMatchObject({ username: 'me', password: '***' })
})
