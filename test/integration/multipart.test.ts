import { describe, expect, it, onTestFinished } from 'vitest'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask, type ClientResponse } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNodeOptions, until } from '../fixtures/node.ts'

const size = 3_000_000
const layer = pseudoRandomBytes(size)

async function setUp(config: TestNodeOptions['config'] = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  const path = `/v2/docker.io/app/blobs/${upstream.addBlob(layer)}`
  const get = (range: string, options = {}) => ask(node.url, path, { headers: { range: `bytes=${range}` }, ...options })
  return { upstream, node, get }
}

/** The parts of a body, each with its Content-Range, as RFC 2046, 5.1.1 has it. */
function partsOf({
  headers,
  body,
}: ClientResponse): { range: string | undefined; type: string | undefined; bytes: Buffer }[] {
  const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(headers['content-type'] ?? '')?.[1]
  if (boundary === undefined) throw new Error(`no multipart: ${headers['content-type']}`)
  expect(headers['content-length']).toBe(String(body.length))
  const [preamble, ...rest] = `\r\n${body.toString('latin1')}`.split(`\r\n--${boundary}`)
  expect([preamble, rest.pop()]).toEqual(['', '--\r\n'])
  return rest.map((text) => {
    const split = text.indexOf('\r\n\r\n')
    const head = text.slice(0, split)
    return {
      range: /^Content-Range: (.*)$/m.exec(head)?.[1]?.trim(),
      type: /^Content-Type: (.*)$/m.exec(head)?.[1]?.trim(),
      bytes: Buffer.from(text.slice(split + 4), 'latin1'),
    }
  })
}

function expectParts(got: ClientResponse, ranges: readonly (readonly [number, number])[]): void {
  expect(got).toMatchObject({ status: 206, complete: true })
  expect(got.headers['content-range']).toBeUndefined()
  const parts = partsOf(got)
  expect(parts.map(({ range, type }) => [range, type])).toEqual(
    ranges.map(([start, end]) => [`bytes ${start}-${end}/${size}`, 'application/octet-stream']),
  )
  for (const [index, [start, end]] of ranges.entries()) {
    expect(layer.subarray(start, end + 1).equals(parts[index]?.bytes ?? Buffer.alloc(0))).toBe(true)
  }
}

const asked: [string, string, [number, number][]][] = [
  [
    'apart',
    '0-1,5-6',
    [
      [0, 1],
      [5, 6],
    ],
  ],
  [
    'that touch',
    '0-99,100-199,200-200',
    [
      [0, 99],
      [100, 199],
      [200, 200],
    ],
  ],
  [
    'over borders of chunks and of reads',
    '1000000-1100000,2000000-2999999',
    [
      [1_000_000, 1_100_000],
      [2_000_000, 2_999_999],
    ],
  ],
  [
    'from the end',
    '5-5,-3',
    [
      [5, 5],
      [2_999_997, 2_999_999],
    ],
  ],
  [
    'of which one is outside',
    '3-4,9-9,4000000-',
    [
      [3, 4],
      [9, 9],
    ],
  ],
]

describe('several ranges of a blob', () => {
  it.each(asked)('%s are parts of one answer, cold and warm', async (_what, range, expected) => {
    const { upstream, node, get } = await setUp()
    expectParts(await get(range), expected)
    await until(async () => (await node.status()).store.blobs === 1)
    expectParts(await get(range), expected)
    expect(upstream.seen('GET')).toHaveLength(1)
  })

  it('come in the order asked for, and twice if asked twice, from the store', async () => {
    const { node, get } = await setUp()
    await get('0-')
    await until(async () => (await node.status()).store.blobs === 1)
    expectParts(await get('500-600,10-20,10-20'), [
      [500, 600],
      [10, 20],
      [10, 20],
    ])
  })

  it.each([
    ['more than the whole', '0-,0-5'],
    ['in another order, while the blob is fetched', '500-600,10-20'],
    ['malformed', '1-2,x'],
  ])('%s get the whole', async (_what, range) => {
    const { get } = await setUp()
    const got = await get(range)
    expect(got).toMatchObject({ status: 200, complete: true, headers: { 'content-length': String(size) } })
    expect(layer.equals(got.body)).toBe(true)
  })

  it('outside get 416, and one that is left gets a plain part', async () => {
    const { get } = await setUp()
    expect(await get('3000000-,-0')).toMatchObject({ status: 416, headers: { 'content-range': `bytes */${size}` } })
    const got = await get('7-9,3000000-')
    expect(got).toMatchObject({ status: 206, headers: { 'content-range': `bytes 7-9/${size}` } })
    expect(layer.subarray(7, 10).equals(got.body)).toBe(true)
  })

  it('make no difference to HEAD', async () => {
    const { get } = await setUp()
    const got = await get('0-1,5-6', { method: 'HEAD' })
    expect(got).toMatchObject({ status: 200, headers: { 'content-length': String(size) } })
  })

  it('of what the store has no room for cost as many fetches as one range does', async () => {
    const [one, several] = [await setUp({ store: { maxSize: '1MB' } }), await setUp({ store: { maxSize: '1MB' } })]
    expect(await one.get('1-2999999')).toMatchObject({ status: 206, complete: true })
    expectParts(await several.get('1-2,5-6,1000000-1500000,2999998-'), [
      [1, 2],
      [5, 6],
      [1_000_000, 1_500_000],
      [2_999_998, 2_999_999],
    ])
    expect(several.upstream.seen('GET')).toHaveLength(one.upstream.seen('GET').length)
  })

  it('are an error status where nothing comes, and a broken body where it breaks off', async () => {
    const { upstream, get } = await setUp({ upstream: { attempts: 1 } })
    upstream.inject('/blobs/', faults.status(500))
    const failed = await get('0-1,5-6')
    expect(failed.status).toBe(503)
    expect(failed.headers['content-type']).toMatch(/^application\/json/)
    upstream.heal()
    upstream.inject('/blobs/', faults.corrupt(2_500_000))
    const broken = await get('0-1,2400000-2999999')
    expect(broken.complete && broken.status === 206).toBe(false)
  })

  it('end with the client', async () => {
    const { upstream, node } = await setUp()
    // More than the buffers of a connection take.
    const path = `/v2/app/blobs/${upstream.addBlob(Buffer.alloc(40_000_000))}`
    expect((await ask(node.url, path)).complete).toBe(true)
    await until(async () => (await node.status()).store.blobs === 1)
    const headers = { range: 'bytes=0-19999999,20000000-39999999' }
    expect((await ask(node.url, path, { headers, hangUpAfter: 1 })).complete).toBe(false)
    await until(() => node.log.some(({ msg, complete }) => msg === 'request' && complete === false))
  })
})
