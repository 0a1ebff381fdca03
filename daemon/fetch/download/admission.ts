import { repositoryText } from '../../../proxy/oci/name.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import { type AccessControl, type FoundIn, foundIn } from '../access.ts'
import { type DownloadFacts, NotForAsker } from './context.ts'

interface AdmissionOptions {
  /** The one who asked first; upstream is asked in its name. */
  readonly first: ContentRequest
  readonly access: Pick<AccessControl, 'identityOf' | 'check'>
  /** What is known at present. */
  readonly state: () => { readonly facts: DownloadFacts | undefined; readonly isGranted: boolean }
}

/** A client that may have the blob. */
interface Admitted {
  readonly request: ContentRequest
  /** Whether that is because anybody may. */
  readonly asPublic: boolean
}

/** Which clients may have a blob that is being fetched. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Private content is given to those only whom upstream lets have it. @throws {NotForAsker} */
  async admit(request: ContentRequest, facts: DownloadFacts): Promise<Admitted> {
    if (!facts.public && !this.#isGranted(request)) {
      if ((await this.#options.access.check(request, this.#foundIn(request, facts))) === undefined)
        throw new NotForAsker()
    }
    return { request, asPublic: facts.public }
  }

  /** Whether somebody has said since that what a client may have as anybody may is private. */
  isTakenBack({ request, asPublic }: Admitted): boolean {
    return asPublic && this.#options.state().facts?.public === false && !this.#isGranted(request)
  }

  /** What its registry gives to the first asker it may decide of for others, too. */
  #foundIn(request: ContentRequest, facts: DownloadFacts): FoundIn {
    const { first, state } = this.#options
    const granted = state().isGranted ? [repositoryText(first.repository)] : []
    return foundIn(request, [...facts.repositories, ...granted])
  }

  /** Whether upstream let this very asker have the blob. */
  #isGranted(request: ContentRequest): boolean {
    const { first, access, state } = this.#options
    const isSame = access.identityOf(request) === access.identityOf(first)
    return state().isGranted && isSame && repositoryText(request.repository) === repositoryText(first.repository)
  }
}
