import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/name.ts'
import type { Requestor } from './authorization.ts'
import type { HttpResponse } from './exchange.ts'
import type { Registry } from './registry.ts'
import type { Access } from './types.ts'

export interface RegistryRequest {
  readonly registry: Registry
  readonly requestor: Requestor
  readonly repository: Repository
  readonly method: 'GET' | 'HEAD'
  /** Below `/v2/<name>/`, such as `tags/list`. */
  readonly path: string
  /** As it goes into the URL, without `?`. */
  readonly query?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** What is asked for, in words for a person. */
  readonly what: string
  /** What the content must be; undefined for what has no digest. */
  readonly digest?: Digest | undefined
  /**
   * Looks at an answer of status 2xx. Gives the answer to go on with, or what is wrong with it: another attempt may bring a
   * better one.
   */
  readonly examine?: ((response: RegistryResponse) => Promise<RegistryResponse | string>) | undefined
  /** There is another way to ask, which follows: a failure says little of the registry, and is not tried for long. */
  readonly isTentative?: boolean
  /** The same question was left without an answer in another way; it waits for as long as it may, even where nothing is answered. */
  readonly insists?: boolean
  readonly signal: AbortSignal
}

export interface RegistryResponse extends HttpResponse {
  readonly access: Access
  /** The registry sent us to another host, and this is that host's answer. */
  readonly elsewhere: boolean
}
