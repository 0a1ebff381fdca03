import type { LocalChange, Metadata } from '../store/metadata.ts'
import type { PeerId, SignedName } from '../swarm/ports.ts'
import type { KnownName } from './table.ts'

/** As it is kept: a signature as text. */
type Kept = Omit<SignedName, 'signature'> & { readonly signature: string; readonly order?: number }

const nameKind = 'name'
const trustKind = 'trust'
const forgottenKey = 'forgotten'

/** Records of names on disk, and who is trusted. */
export class KeptNames {
  readonly #metadata: Pick<Metadata, 'names' | 'changeNames' | 'noteNames'>

  constructor(metadata: Pick<Metadata, 'names' | 'changeNames' | 'noteNames'>) {
    this.#metadata = metadata
  }

  /** What was kept, in the order in which it was first heard. */
  async names(): Promise<(readonly [SignedName, order: number | undefined])[]> {
    const entries = (await this.#metadata.names()).filter(([key]) => key.startsWith(`${nameKind} `))
    return entries
      .map(([, value]) => value as Kept)
      .toSorted((a, b) => (a.order ?? 0) - (b.order ?? 0))
      .map(({ order, signature, ...name }) => [
        { ...fieldsOf(name), signature: Buffer.from(signature, 'base64') },
        order,
      ])
  }

  /** Keeps what this node says itself; durable when it returns. @throws where that can't be */
  async keep(name: SignedName): Promise<void> {
    await this.#metadata.changeNames([putOf(name)])
  }

  /** Keeps what others say, and forgets something. What is lost is told again. */
  async note(heard: readonly KnownName[], forgotten: readonly SignedName[], forgottenUpTo?: number): Promise<void> {
    const gone: LocalChange[] = forgotten.map((name) => ({ key: keyOf(name) }))
    if (forgottenUpTo !== undefined) gone.push({ key: forgottenKey, value: { at: forgottenUpTo } })
    if (heard.length + gone.length > 0) await this.#metadata.noteNames([...heard.map(putOf), ...gone])
  }

  /** Up to when this node's own deletions may have been forgotten, by their own time. */
  async forgottenUpTo(): Promise<number> {
    const [, value] = (await this.#metadata.names()).find(([key]) => key === forgottenKey) ?? []
    return (value as { at: number } | undefined)?.at ?? 0
  }

  /** Who is trusted, and since when, in ms since the epoch. */
  async trusted(): Promise<Map<PeerId, number>> {
    const entries = (await this.#metadata.names()).filter(([key]) => key.startsWith(`${trustKind} `))
    return new Map(entries.map(([key, value]) => [key.slice(trustKind.length + 1), (value as { at: number }).at]))
  }

  /** Durable when it returns. @param at undefined for a peer that is trusted no longer */
  async trust(peer: PeerId, at: number | undefined): Promise<void> {
    const key = `${trustKind} ${peer}`
    await this.#metadata.changeNames([at === undefined ? { key } : { key, value: { at } }])
  }
}

function putOf(name: SignedName | KnownName): LocalChange {
  const { signature, ...fields } = name
  const order = 'order' in name ? { order: name.order } : {}
  const value: Kept = { ...fieldsOf(fields), signature: Buffer.from(signature).toString('base64'), ...order }
  return { key: keyOf(name), value }
}

/** What is signed, without what else a record may carry; what was undefined is no field of what is kept. */
function fieldsOf(name: Omit<SignedName, 'signature'>): Omit<SignedName, 'signature'> {
  const { publisher, repository, reference, digest, mediaType, size, subject, artifactType, sequence, at } = name
  return { publisher, repository, reference, digest, mediaType, size, subject, artifactType, sequence, at }
}

/** None of them has a space. */
function keyOf({ publisher, repository, reference }: SignedName): string {
  return `${nameKind} ${publisher} ${repository} ${reference}`
}
