import type { TellableList } from '../../share/local-blob.ts'
import { ListHasher, type ListSigner } from '../../share/signed-list.ts'
import type { PeerId } from '../../swarm/ports.ts'
import type { Assembly } from './assembly.ts'
import type { SignedPrefix } from './view.ts'

const nothing = { known: 0, bytes: new Uint8Array(0) }

interface ToldListOptions {
  readonly assembly: () => Assembly | undefined
  readonly self: () => PeerId
  readonly signer: ListSigner
  /** Who reads upstream, as the coordinator says. */
  readonly holder: () => PeerId | undefined
  /** The part of the list that was told with a signature last. */
  readonly signed: () => SignedPrefix | undefined
}

/**
 * The list of a blob that is being fetched, as peers are told of it. Whoever reads upstream signs its list each time that it has
 * grown, so that others may pass it on: it is believed from nobody else before it is complete.
 */
export class ToldList implements TellableList {
  readonly #options: ToldListOptions
  #hasher = new ListHasher()
  #revision = -1
  #own: { readonly known: number; readonly signer: PeerId; readonly bytes: Uint8Array } | undefined

  constructor(options: ToldListOptions) {
    this.#options = options
  }

  get known(): number {
    return this.#options.assembly()?.list.known ?? 0
  }

  get isComplete(): boolean {
    return this.#options.assembly()?.isListComplete ?? false
  }

  encode(from: number): Uint8Array {
    return this.#options.assembly()?.list.encode(from) ?? new Uint8Array(0)
  }

  get signed(): TellableList['signed'] {
    const { holder, self, assembly: current, signed } = this.#options
    const assembly = current()
    const peer = holder()
    if (peer === undefined || assembly === undefined || assembly.list.known === 0) return undefined
    if (peer === self()) return this.#sign(assembly)
    const prefix = signed()
    // What the one who reads has not signed is believed by nobody.
    return prefix?.signer === peer && prefix.known <= assembly.list.known ? prefix : { ...nothing, signer: peer }
  }

  #sign(assembly: Assembly): TellableList['signed'] {
    const { list, revision, size } = assembly
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#hasher = new ListHasher()
      this.#own = undefined
    }
    if (this.#own?.known === list.known) return this.#own
    this.#hasher.append(list.encode(this.#hasher.known))
    const prefix = { digest: list.digest, size, known: list.known, hash: this.#hasher.digest() }
    this.#own = { known: list.known, signer: this.#options.self(), bytes: this.#options.signer.sign(prefix) }
    return this.#own
  }
}
