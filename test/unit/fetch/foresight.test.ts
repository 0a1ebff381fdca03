import { describe, expect, it } from 'vitest'
import { Foresight } from '../../../daemon/fetch/foresight.ts'
import { mayPeersHave } from '../../../daemon/fetch/peers-may-have.ts'
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

/** Whether peers may hear of repositories. */
const hearable = new Map([
  ['app', true],
  ['secret', false],
])

/** What is foreseen when a client of a repository gets the manifest. */
async function foreseen(
  { isClosed = false, stored, fetched }: Known,
  name = 'app',
  bytes: Uint8Array = manifest,
): Promise<Digest[]> {
  const seen: Digest[] = []
  const foresight = new Foresight({
    store: { has: (one) => one === held },
    sharing: { foresee: (digests) => void seen.push(...digests) },
    mayPeersHave: (asked) => {
      const store = { record: () => (stored === undefined ? undefined : ({ public: stored } as never)) }
      const mayTell = async () => hearable.get(asked.repository.name)
      return mayPeersHave({ store, mayTell, isClosed, isPublic: () => fetched }, asked)
    },
  })
  const { signal } = new AbortController()
  await foresight.passes({ kind: 'manifest', repository: { registry: 'a.b', name }, digest, signal }, bytes)
  return seen
}

describe('when a manifest passes', () => {
  it.each<[string, Known]>([
    ['is public, on disk', { stored: true }],
    ['is public, as those say who have it', { fetched: true }],
    ['is private, in a closed swarm', { isClosed: true, stored: false }],
    ['may be private, in a closed swarm', { isClosed: true }],
  ])('its blobs that are lacking are looked for, where it %s', async (_where, known) => {
    expect(await foreseen(known)).toEqual([config, layer])
  })

  it.each<[string, Known, string?]>([
    ['it is private, in an open swarm', { stored: false }],
    ['it was private before, in an open swarm', { stored: false, fetched: true }],
    ['nobody has said that anybody may have it', {}],
    ['its repository is never shared', { isClosed: true, stored: true }, 'secret'],
    ['nothing is known of its repository', { stored: true }, 'unknown'],
  ])('no peer hears of its blobs where %s', async (_where, known, name) => {
    expect(await foreseen(known, name)).toEqual([])
  })

  it('that names nothing that is lacking, nothing is looked for', async () => {
    expect(
      await foreseen({ stored: true }, 'app', Buffer.from(JSON.stringify({ layers: [{ digest: held }] }))),
    ).toEqual([])
  })
})
