import { isTransient } from './answers.ts'
import { exchangeTrusting } from './authorities.ts'
import { abortedError, noAnswerError, TransientError } from './errors.ts'
import { discard } from './exchange.ts'
import type { Host } from './host.ts'
import { Recent } from './recent.ts'

/** How long it is remembered how a registry asks for credentials, in ms. */
const lifetime = 600_000

/** Registries of which that is remembered; the oldest are forgotten. */
const maxChallenges = 200

/** Where a registry does not say how it wants to be asked. */
const basicChallenge = 'Basic realm="registry"'

/** How hosts ask for credentials at the root of their API (distribution-spec 1.1, end-1), where podman and skopeo look first. */
export class RootChallenges {
  readonly #headers: Readonly<Record<string, string>>
  readonly #challenges: Recent<string>

  constructor(headers: Readonly<Record<string, string>>, now: () => number) {
    this.#headers = headers
    this.#challenges = new Recent(lifetime, maxChallenges, now)
  }

  /** @throws {UpstreamError} where the host does not say */
  async challengeOf(host: Host, signal: AbortSignal): Promise<string> {
    const { pingUrl: url } = host
    const kept = this.#challenges.get(url.href)
    if (kept !== undefined) return kept
    const { responseTimeout, idleTimeout } = host.via
    const request = { method: 'GET', url, headers: this.#headers, responseTimeout, idleTimeout, signal } as const
    const response = await exchangeTrusting(host.dispatcherFor(url), request).catch((error: unknown) => {
      throw signal.aborted ? abortedError(signal) : noAnswerError(error, host.name)
    })
    const header = response.status === 401 ? response.headers.get('www-authenticate') : undefined
    await discard(response)
    if (isTransient(response.status)) {
      throw new TransientError('broken', `${host.name} does not say how it asks for credentials (${response.status})`)
    }
    const challenge = header ?? basicChallenge
    this.#challenges.set(url.href, challenge)
    return challenge
  }
}
