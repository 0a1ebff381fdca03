import { describe, expect, it } from 'vitest'
import { Foresight } from '../../../daemon/fetch/foresight.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'

const blob = (name: string) => digestOf(Buffer.from(name))
const [config, layer, held] = ['config', 'layer', 'held'].map(blob) as [Digest, Digest, Digest]
const manifest = Buffer.from(
  JSON.stringify({
    config: { digest: config },
    layers: [{ digest: layer }, { digest: held }, { digest: digestOf(Buffer.from('long'), 'sha512') }],
  }),
)
const digest = digestOf(manifest)

interface Known {
  readonly isClosed?: boolean
  /** Of the manifest that is on disk. */
  readonly stored?: boolean
  /** Of the one that is being fetched. */
  readonly fetched?: boolean
}

/** What is foreseen when a client of a repository gets the manifest. */
function foreseen({ isClosed = false, stored, fetched }: Known, name = 'app', bytes: Uint8Array = manifest): Digest[] {
  const seen: Digest[] = []
  const foresight = new Foresight({
    store: {
      has: (one) => one === held,
      record: () => (stored === undefined ? undefined : ({ public: stored } as never)),
    },
    sharing: { foresee: (digests) => void seen.push(...digests) },
    rules: { mayShare: (repository) => repository !== 'a.b/secret' },
    isClosed,
    isPublic: () => fetched,
  })
  const { signal } = new AbortController()
  foresight.passes({ kind: 'manifest', repository: { registry: 'a.b', name }, digest, signal }, bytes)
  return seen
}

describe('when a manifest passes', () => {
  it.each<[string, Known]>([
    ['is public, on disk', { stored: true }],
    ['is public, as those say who have it', { fetched: true }],
    ['is private, in a closed swarm', { isClosed: true, stored: false }],
    ['may be private, in a closed swarm', { isClosed: true }],
  ])('its blobs that are lacking are looked for, where it %s', (_where, known) => {
    expect(foreseen(known)).toEqual([config, layer])
  })

  it.each<[string, Known, string?]>([
    ['it is private, in an open swarm', { stored: false }],
    ['it was private before, in an open swarm', { stored: false, fetched: true }],
    ['nobody has said that anybody may have it', {}],
    ['its repository is never shared', { isClosed: true, stored: true }, 'secret'],
  ])('no peer hears of its blobs where %s', (_where, known, name) => {
    expect(foreseen(known, name)).toEqual([])
  })

  it('that names nothing that is lacking, nothing is looked for', () => {
    expect(foreseen({ stored: true }, 'app', Buffer.from(JSON.stringify({ layers: [{ digest: held }] })))).toEqual([])
  })
})
