import { type Authorizer, type Grant, notTaken, type Requestor } from './authorization.ts'
import { discard, type HttpResponse } from './exchange.ts'
import type { Host } from './host.ts'
import type { UpstreamLogger } from './registry.ts'
import type { RegistryResponse } from './request.ts'
import { UpstreamError } from './types.ts'

interface Asking {
  readonly host: Host
  readonly requestor: Requestor
  readonly signal: AbortSignal
  readonly contact: (authorization: string | undefined) => Promise<HttpResponse>
}

/** Statuses that mean what they say: try again, another range, too much. */
const plainStatuses: ReadonlySet<number> = new Set([408, 416, 429, 431])

/** Whether a status may mean "who are you?": some registries show the anonymous anything but 401. */
function isRefusal(status: number): boolean {
  return (status >= 400 && status <= 499 && !plainStatuses.has(status)) || status === 500 || status === 511
}

/** Statuses by which a token is refused that is not taken any more. */
const staleStatuses: ReadonlySet<number> = new Set([400, 401, 403])

/**
 * Asks a host, and proves to it who asks where it wants to know. Not every registry says 401 when it does: some answer 403
 * or 404 to the anonymous for what is private, and 400 or 403 for a token that they don't take any more.
 */
export class Login {
  readonly #authorizer: Authorizer
  readonly #logger: UpstreamLogger

  constructor(authorizer: Authorizer, logger: UpstreamLogger) {
    this.#authorizer = authorizer
    this.#logger = logger
  }

  /** @throws {UpstreamError} unauthorized or refused after a 401 that can't be answered, or what `contact` throws */
  async ask(
    host: Host,
    { requestor, signal }: Pick<Asking, 'requestor' | 'signal'>,
    contact: Asking['contact'],
  ): Promise<RegistryResponse> {
    const known = host.isTrusted ? this.#authorizer.known(host, requestor) : undefined
    const first = told(host, await contact(known?.authorization), known)
    if (!host.isTrusted || !isRefusal(first.status)) return first
    const asking: Asking = { host, requestor, signal, contact }
    if (host.isElsewhere) return this.#answeredElsewhere(asking, first, known)
    if (first.status === 401 && (this.#authorizer.canAnswer(challengeOf(first)) || requestor.kind === 'token')) {
      await discard(first)
      return this.#answered(asking, challengeOf(first), known)
    }
    return this.#askedAgain(asking, first, known)
  }

  async #answered(
    asking: Asking,
    challenge: string | undefined,
    rejected: Grant | undefined,
  ): Promise<RegistryResponse> {
    const { host, requestor, signal, contact } = asking
    const grant = await this.#authorizer.answer({ host, requestor, challenge, rejected, signal })
    const response = told(host, await contact(grant.authorization), grant)
    if (response.status === 401 && !host.isElsewhere && grant.authorization.startsWith('Basic ')) {
      await discard(response)
      this.#authorizer.forget(host, requestor, grant)
      throw notTaken({ host, challenge })
    }
    return response
  }

  /**
   * Proves to a host who asks though it has not asked for that: it has answered with a page for people.
   * @returns whether there was something to prove, and it was taken
   */
  async prove({ host, requestor, signal }: Omit<Asking, 'contact'>): Promise<boolean> {
    if (requestor.kind === 'token' || !this.#authorizer.mayTryAgain(host, requestor)) return false
    if (this.#authorizer.known(host, requestor) !== undefined) return false
    if (!(await this.#authorizer.hasCredentials(host, requestor))) return false
    try {
      const challenge = await this.#authorizer.challengeOf(host, signal)
      await this.#authorizer.answer({ host, requestor, challenge, rejected: undefined, signal })
      return true
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.code === 'aborted') throw error
      this.#authorizer.triedInVain(host, requestor)
      return false
    }
  }

  /** The page came again. */
  provedInVain(host: Host, requestor: Requestor): void {
    this.#authorizer.triedInVain(host, requestor)
  }

  /**
   * A host that the registry sent us to may be a registry, with a challenge of its own, or storage whose signed URL is not good.
   * @returns `first`, unread, where there is no better answer
   */
  async #answeredElsewhere(
    asking: Asking,
    first: RegistryResponse,
    known: Grant | undefined,
  ): Promise<RegistryResponse> {
    const challenge = challengeOf(first)
    if (first.status !== 401 || !this.#authorizer.canAnswer(challenge)) {
      if (known !== undefined) this.#authorizer.forget(asking.host, asking.requestor, known)
      return first
    }
    try {
      const second = await this.#answered(asking, challenge, known)
      await discard(first)
      return second
    } catch (error) {
      if (!(error instanceof UpstreamError) || (error.code !== 'unauthorized' && error.code !== 'refused')) {
        first.body.cancel()
        throw error
      }
      const { via, name } = asking.host
      this.#logger.debug(
        { registry: via.name, host: name, reason: error.message },
        'a host that we were sent to is not answered',
      )
      return first
    }
  }

  /** A refusal without a challenge: the grant that was sent may be stale, and the anonymous may be told less than the truth. */
  async #askedAgain(asking: Asking, first: RegistryResponse, known: Grant | undefined): Promise<RegistryResponse> {
    const { host, requestor } = asking
    const { status } = first
    const { habits } = host.via
    const mayBeStale = staleStatuses.has(status) || (status === 404 && habits.has('hides'))
    const isStale = known !== undefined && requestor.kind !== 'token' && mayBeStale
    const isAnonymous = known === undefined
    if (!isStale && !isAnonymous) return first
    const mayTry = this.#authorizer.mayTryAgain(host, requestor) || (isAnonymous && habits.has('hides'))
    if (status !== 401 && !mayTry) return first
    const anew = isStale ? await this.#askedAnonymously(asking, first, known) : first
    const last = isRefusal(anew.status) ? await this.#proven(asking, anew, known) : anew
    if (isRefusal(last.status)) {
      this.#authorizer.triedInVain(host, requestor)
      // What has opened nothing is not sent along with questions for what is everybody's.
      const grant = this.#authorizer.known(host, requestor)
      if (isAnonymous && status !== 401 && !habits.has('hides') && grant !== undefined) {
        this.#authorizer.forget(host, requestor, grant)
      }
    } else if (isAnonymous && status !== 401 && habits.learn('hides')) {
      this.#logger.debug(
        { registry: host.name, status },
        'a registry hides from the anonymous what it gives for credentials',
      )
    }
    return last
  }

  async #askedAnonymously(asking: Asking, refused: RegistryResponse, stale: Grant): Promise<RegistryResponse> {
    const { host, requestor, contact } = asking
    this.#authorizer.forget(host, requestor, stale)
    await discard(refused)
    return told(host, await contact(undefined), undefined)
  }

  /** @returns the answer to who has proven who it is; `refused` where there is nothing to prove, or that is refused as well */
  async #proven(asking: Asking, refused: RegistryResponse, rejected: Grant | undefined): Promise<RegistryResponse> {
    try {
      const challenge = await this.#challengeFor(asking, refused)
      // After a 401 it is an error that there is nothing to prove; another status is an answer by itself.
      if (challenge === undefined && refused.status !== 401) return refused
      const answer = await this.#answered(asking, challenge, rejected)
      await discard(refused)
      return answer
    } catch (error) {
      const isAnswer = error instanceof UpstreamError && ['unauthorized', 'refused', 'denied'].includes(error.code)
      if (isAnswer && refused.status !== 401) return refused
      refused.body.cancel()
      throw error
    }
  }

  /** What to answer a refusal with; undefined where there is nothing to prove. */
  async #challengeFor({ host, requestor, signal }: Asking, refused: RegistryResponse): Promise<string | undefined> {
    const own = challengeOf(refused)
    // One that can't be answered is the client's to answer.
    if (own !== undefined) return own
    if (refused.status !== 401 && !(await this.#authorizer.hasCredentials(host, requestor))) return undefined
    return this.#authorizer.challengeOf(host, signal)
  }
}

function challengeOf({ headers }: HttpResponse): string | undefined {
  return headers.get('www-authenticate')
}

function told({ isElsewhere, isPrivate }: Host, response: HttpResponse, grant: Grant | undefined): RegistryResponse {
  const isSecret = grant?.credentialed === true || isPrivate
  const notPublic = isElsewhere ? 'foreign' : 'private'
  const access = isSecret ? notPublic : 'public'
  return { ...response, access, elsewhere: isElsewhere }
}
