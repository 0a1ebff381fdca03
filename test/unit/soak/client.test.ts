import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { until } from '../../fixtures/swarm.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'
import type { Answer, Question } from '../../soak/agent.ts'
import { Client, type Pulls } from '../../soak/client.ts'
import type { Image, Images } from '../../soak/images.ts'
import { Journal } from '../../soak/journal.ts'
import type { Node } from '../../soak/node.ts'
import { readOptions } from '../../soak/options.ts'
import { Troubles, UPSTREAM } from '../../soak/troubles.ts'
import type { World } from '../../soak/world.ts'

const image: Image = {
  ...{ repository: 'soak/image1', tag: 'latest', layers: [] },
  versions: [
    { digest: 'sha256:older', pushed: -100_000, blobs: [{ digest: 'sha256:blob', size: 1000 }] },
    { digest: 'sha256:newer', pushed: -50_000, blobs: [{ digest: 'sha256:blob', size: 1000 }] },
  ],
}

/** What an honest node answers. */
function honest({ path, method, headers = {} }: Question): Partial<Answer> {
  if (path.includes('/manifests/'))
    return { digest: 'sha256:newer', headers: { 'docker-content-digest': 'sha256:newer' } }
  if (method === 'HEAD') return { headers: { 'content-length': '1000' } }
  if (headers.range === undefined) return { digest: 'sha256:blob', bytes: 1000 }
  const [start = 0, end = 0] = headers.range.match(/\d+/g)?.map(Number) ?? []
  return { status: 206, digest: `sha256:${start}-${end}`, bytes: end - start + 1 }
}

/** Lets a client of a node do a hundred things. @returns the kinds of violations */
async function violations(
  answer: (question: Question) => Partial<Answer> | Error,
  trouble: (troubles: Troubles) => void = () => {},
  nodes: readonly Pick<Node, 'name' | 'dataDir'>[] = [],
) {
  const options = readOptions(['--seed', '1'])
  if (typeof options === 'string') throw new Error(options)
  const troubles = new Troubles()
  trouble(troubles)
  const journal = new Journal(await tempDir())
  const digestOfPart = async (_: string, start: number, end: number) => `sha256:${start}-${end}`
  const images = { all: [image], digestOfPart } as unknown as Images
  let asked = 0
  const node = {
    name: 'node1',
    ask: async (question: Question) => {
      asked++
      const given = answer(question)
      if (given instanceof Error) throw given
      return { status: 200, headers: {}, bytes: 0, digest: '', isComplete: true, took: 1, text: undefined, ...given }
    },
  } as unknown as Node
  const pulls: Pulls = {
    ...{ images: 0, blobs: 0, bytes: 0, ranges: 0, heads: 0, tags: 0, hangUps: 0 },
    ...{ failed: new Map<string, number>(), times: [] },
  }
  const control = new AbortController()
  const running = new Client(
    { options: { ...options, pace: 1e6 }, troubles, journal, images, nodes } as World,
    node,
    pulls,
  ).run(control.signal)
  await until(() => asked >= 100)
  control.abort()
  await running
  return { kinds: [...journal.counts.keys()], pulls }
}

describe('the clients of a soak', () => {
  it('find nothing wrong with an honest node, and count what they do', async () => {
    const { kinds, pulls } = await violations(honest)
    expect([kinds, [...pulls.failed]]).toEqual([[], []])
    for (const count of [pulls.images, pulls.blobs, pulls.ranges, pulls.heads, pulls.hangUps])
      expect(count).toBeGreaterThan(0)
  })

  const wrong: [string, (question: Question) => Partial<Answer>][] = [
    [
      'a byte of a whole blob',
      (question) => (question.headers === undefined ? { digest: 'sha256:x', bytes: 1000 } : {}),
    ],
    ['a byte of a range', (question) => (question.headers?.range === undefined ? {} : { digest: 'sha256:x' })],
    ['the length of a HEAD', (question) => (question.method === 'HEAD' ? { headers: { 'content-length': '9' } } : {})],
    ['a tag that nobody pushed', (question) => (question.path.includes('/manifests/') ? { digest: 'sha256:x' } : {})],
  ]
  it.each(wrong)('find what must never be, whatever faults there are: %s is wrong', async (_, change) => {
    const harm = (troubles: Troubles) => troubles.begin('node1', 1, 'frozen')
    const { kinds } = await violations((question) => ({ ...honest(question), ...change(question) }), harm)
    expect(kinds).toEqual(['wrong bytes'])
  })

  const failures: [string, Partial<Answer> | Error][] = [
    ['an error', { status: 503 }],
    ['a body that is cut off', { isComplete: false }],
    ['no answer', new Error('no end within 120000 ms')],
  ]
  it.each(failures)('allow %s only while somebody has a fault, or soon after', async (_, failure) => {
    expect((await violations(() => failure)).kinds).toEqual(['a pull failed'])
    const { kinds, pulls } = await violations(
      () => failure,
      (troubles) => troubles.begin(UPSTREAM, 1, 'upstream is silent'),
    )
    expect([kinds, pulls.failed.size > 0]).toEqual([[], true])
    const soonAfter = (troubles: Troubles) => troubles.end('node1', 1, performance.now())
    expect((await violations(() => failure, soonAfter)).kinds).toEqual([])
  })

  it('do not allow that a blob is not given which a well node has, whatever becomes of upstream', async () => {
    const dataDir = await tempDir()
    await mkdir(join(dataDir, 'blobs/sha256'), { recursive: true })
    await writeFile(join(dataDir, 'blobs/sha256/blob'), '')
    const answer = (question: Question) => (question.path.includes('/blobs/') ? { status: 503 } : honest(question))
    const isAway = (troubles: Troubles) => troubles.begin(UPSTREAM, 1, 'upstream is silent')
    const holder = [{ name: 'node2', dataDir }]
    expect((await violations(answer, isAway, holder)).kinds).toEqual(['a pull failed though a node has it'])
    const bothAreAway = (troubles: Troubles) => {
      isAway(troubles)
      troubles.begin('node2', 2, 'frozen')
    }
    expect((await violations(answer, bothAreAway, holder)).kinds).toEqual([])
  })

  it('allow an old tag only while somebody has a fault', async () => {
    const old = (question: Question) =>
      question.path.includes('/manifests/')
        ? { digest: 'sha256:older', headers: { 'docker-content-digest': 'sha256:older' } }
        : honest(question)
    expect((await violations(old)).kinds).toEqual(['a tag is too old'])
    expect((await violations(old, (troubles) => troubles.begin(UPSTREAM, 1, 'upstream is silent'))).kinds).toEqual([])
  })
})
