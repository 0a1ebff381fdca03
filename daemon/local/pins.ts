import type { Digest } from '../../proxy/oci/digest.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords } from './records.ts'

/** Images of other registries that their user wants to keep. */
export class Pins {
  readonly #records: LocalRecords
  readonly #holdings: Holdings

  constructor(records: LocalRecords, holdings: Holdings) {
    this.#records = records
    this.#holdings = holdings
  }

  /** Tags and digests of a `registry/repository` whose pins hold content. */
  of(repository: string, digest: Digest): readonly string[] {
    return this.#records.pinsOf(repository, digest)
  }

  /** Keeps content until the pin is taken away; durable when it returns. @returns false where some of it is not here */
  async add(repository: string, reference: string, digests: readonly Digest[]): Promise<boolean> {
    const pin = { kind: 'pin', name: repository, id: reference, value: digests } as const
    return await this.#holdings.inTurn(async () => {
      const before = this.#records.pinned(repository, reference) ?? []
      if (!(await this.#holdings.keep(digests, [pin]))) return false
      for (const digest of before) await this.#holdings.remove(digest, [])
      return true
    })
  }

  /** @returns false where there is no such pin */
  async remove(repository: string, reference: string): Promise<boolean> {
    return await this.#holdings.inTurn(async () => {
      const digests = this.#records.pinned(repository, reference)
      if (digests === undefined) return false
      const [first, ...rest] = digests
      const change = { kind: 'pin', name: repository, id: reference } as const
      if (first !== undefined) await this.#holdings.remove(first, [change])
      for (const digest of rest) await this.#holdings.remove(digest, [])
      return true
    })
  }
}
