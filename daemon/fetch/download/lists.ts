import { ListHasher } from '../../share/signed-list.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { checkQuarter, divergence, firstDivergence, type QuarterVerdict } from '../../verify/check-quarter.ts'
import type { Checkpoints, ClaimedCheckpoints, GrowingCheckpoints } from '../../verify/checkpoints.ts'
import { quarterBytes, quarterLength } from '../../verify/quarter.ts'
import { stateBytes } from '../../verify/state.ts'
import type { Assembly, Contradiction } from './assembly.ts'
import { EVIDENCE_LIMIT_MS, MAX_WITNESSES } from './constants.ts'
import type { Attempt } from './context.ts'
import type { Lies } from './lies.ts'
import type { SignedPrefix, View } from './view.ts'

interface ListsOptions {
  readonly attempt: Attempt
  readonly lies: Lies
  /** What the peers that are watched say at present. */
  readonly views: () => readonly View[]
  /** Who fetches from upstream, as the coordinator says. */
  readonly holder: () => PeerId | undefined
  /** Whether quarters can be asked of a peer has changed. */
  readonly onView: (view: View) => void
  /** The list has grown, or was cut. */
  readonly onChanged: () => void
}

/**
 * Decides which peers' checkpoints are followed. Only peers with the same list are asked for quarters, so a quarter that does not
 * fit contradicts the very peer that sent it. Between two lists that differ, a quarter decides that only one side can have.
 */
export class Lists {
  readonly #options: ListsOptions
  /** The list's revision at which a view was last compared with it by evidence. */
  readonly #compared = new WeakMap<View, number>()
  /** One after the other: each may change the list. */
  #investigations: Promise<void> = Promise.resolve()
  #willReconsider = false
  #signed: SignedPrefix | undefined
  /** The list's revision at which that was so last. */
  #signedAt = -1

  constructor(options: ListsOptions) {
    this.#options = options
  }

  /** What was signed of the list, as it was told last. */
  get signed(): SignedPrefix | undefined {
    const { assembly } = this.#options.attempt
    if (this.#signed !== undefined && assembly !== undefined && assembly.revision !== this.#signedAt) {
      // The list was cut, and may have grown in another way since.
      if (!isOver(this.#signed, assembly.list)) this.#signed = undefined
      this.#signedAt = assembly.revision
    }
    return this.#signed
  }

  /** Takes what a peer's list adds to ours, or finds out which of two that differ is false. */
  consider(view: View): void {
    const { assembly } = this.#options.attempt
    if (assembly === undefined || !view.isUsed || view.isRefuted || view.size !== assembly.size) return
    const { revision } = assembly
    // A long list that grows state by state is not compared from its start each time.
    const from = view.agreed.revision === revision ? view.agreed.states + 1 : 1
    const differs = firstDivergence(assembly.list, view.list, from)
    const states = differs ?? Math.min(assembly.list.known, view.list.known)
    view.agreed = { revision, states }
    const author = differs === undefined ? undefined : assembly.authorOf(differs)
    if (differs === undefined) this.#agree(view, assembly)
    else if (author === 'self') this.refute(view)
    else if (author === view.peer) {
      // It has taken back what it said before.
      assembly.truncate(differs)
      this.#agree(view, assembly)
    } else {
      view.isApart = true
      this.#options.onView(view)
      this.#compare(view, assembly, differs)
    }
  }

  /** The list was cut: what peers have told may go on from there. */
  reconsider(): void {
    if (this.#willReconsider) return
    this.#willReconsider = true
    setImmediate(() => {
      this.#willReconsider = false
      if (this.#options.attempt.signal.aborted) return
      for (const view of this.#options.views()) this.consider(view)
      this.#options.onChanged()
    })
  }

  /** Upstream's bytes show that two states of our list can't both be right: nobody who tells them is followed. */
  contradicted({ list, from, to }: Contradiction): void {
    for (const view of this.#options.views()) if (view.agrees(list, from, to)) this.refute(view)
  }

  /** A quarter that a peer sent under this view does not fit our list. */
  wrongQuarter(view: View, quarter: number, assembly: Assembly): void {
    const isTold = view.list.known > Math.min(quarter, assembly.quarters - 2)
    // Our list has changed while the quarter was under way, which may fit what the peer says; or it was asked for what it had not
    // offered, before it told the list up to there.
    if (isTold ? !view.agrees(assembly.list, quarter, quarter + 1) : !view.claims(quarter)) return
    this.#catch(view, quarter)
  }

  /** Nothing of what a peer says is used any more, until it takes it back. */
  refute(view: View): void {
    if (view.isRefuted) return
    view.isRefuted = true
    this.#options.onView(view)
  }

  /** Whether somebody has a quarter that leads from a peer's complete list to the digest: that proves the size, too. */
  async isEndProven(view: View): Promise<boolean> {
    const list = view.list.complete()
    return list !== undefined && (await this.#evidence(list, list.quarters - 1)) === 'fits'
  }

  #agree(view: View, assembly: Assembly): void {
    const { list } = view
    const holder = this.#options.holder()
    const before = assembly.list.known
    const isTrusted = view.isListComplete || holder === undefined || holder === view.peer
    const signed = list.known <= before || holder === undefined ? undefined : view.signedBy(holder)
    const known = isTrusted ? list.known : (signed?.known ?? 0)
    if (signed !== undefined && signed.known > before) {
      this.#signed = signed
      this.#signedAt = assembly.revision
    }
    if (known > before) {
      const states = list.encode(before).subarray(0, (known - before) * stateBytes)
      assembly.extend(states, isTrusted ? view.peer : holder)
      this.#options.onChanged()
    }
    if (!view.isApart) return
    view.isApart = false
    this.#options.onView(view)
  }

  /** Finds out by a quarter which of two lists is followed; once for each state of ours. */
  #compare(view: View, assembly: Assembly, differs: number): void {
    const theirs = view.list.complete()
    const ours = assembly.list.complete()
    const holder = this.#options.holder()
    // A signature over what both say is no word for what comes after it.
    const signed = holder === undefined ? 0 : (view.signedBy(holder)?.known ?? 0)
    const isHolder = holder !== undefined && (holder === view.peer || signed > differs)
    if (theirs === undefined && ours === undefined) {
      if (isHolder) this.#follow(view, assembly)
      return
    }
    const { revision } = assembly
    if (this.#compared.get(view) === revision) return
    this.#compared.set(view, revision)
    this.#investigations = this.#investigations
      .then(async () => {
        const isStale = () => assembly.revision !== revision || !this.#isCurrent(view)
        if (isStale()) return
        const meets = ours === undefined || theirs === undefined ? undefined : divergence(ours, theirs)
        const quarter = meets ?? assembly.quarters - 1
        const [ofOurs, ofTheirs] = await Promise.all([this.#evidence(ours, quarter), this.#evidence(theirs, quarter)])
        if (isStale()) return
        if (ofTheirs === 'fits') {
          // Nobody has the quarter that would lead from another state to the same one.
          if (ours !== undefined) this.contradicted({ list: ours, from: quarter, to: quarter + 1 })
          this.#follow(view, assembly)
        } else if (ofOurs === 'fits') this.refute(view)
        else if (isHolder && theirs === undefined) this.#follow(view, assembly)
        // Somebody may get the quarter later.
        else if (ofOurs === 'absent' && ofTheirs === 'absent') this.#compared.delete(view)
      })
      .catch(() => {})
  }

  #follow(view: View, assembly: Assembly): void {
    assembly.truncate(firstDivergence(assembly.list, view.list) ?? assembly.list.known)
    this.#agree(view, assembly)
    this.reconsider()
    this.#options.onChanged()
  }

  #isCurrent(view: View): boolean {
    return !view.isRefuted && this.#options.views().includes(view)
  }

  /** A peer sent a quarter that does not fit its own list. What only it has said goes. */
  #catch(view: View, quarter: number): void {
    const { attempt, lies, views } = this.#options
    if (!this.#isCurrent(view)) return
    lies.contradicts(view, quarter)
    this.refute(view)
    const { assembly } = attempt
    if (assembly === undefined || view.size !== assembly.size) return
    const same = views().filter((one) => one.isFollowed && one.size === assembly.size)
    const [other] = same.sort((a, b) => b.list.known - a.list.known)
    if (other === undefined) assembly.cut(view.peer)
    else assembly.credit(view.peer, other.peer, other.list.known)
  }

  /**
   * Whether somebody gives the quarter that fits a complete list; `absent` where nobody says that he has it. Who says so and
   * gives another one is caught.
   */
  async #evidence(list: ClaimedCheckpoints | undefined, quarter: number): Promise<'fits' | 'unknown' | 'absent'> {
    if (list === undefined) return 'absent'
    const witnesses = this.#options
      .views()
      .filter((view) => !view.isRefuted && view.claims(quarter) && view.agrees(list, quarter, quarter + 1))
      .slice(0, MAX_WITNESSES)
    for (const view of witnesses) {
      const said = await this.#ask(view.peer, list, quarter)
      if (said === 'fits') return said
      if (said === 'wrong') this.#catch(view, quarter)
    }
    return witnesses.length === 0 ? 'absent' : 'unknown'
  }

  /** Fetches a quarter from a peer, and checks it along a list; `unknown` where it can't be had. */
  async #ask(peer: PeerId, list: Checkpoints, quarter: number): Promise<QuarterVerdict> {
    const { tools, request, signal } = this.#options.attempt
    const start = quarter * quarterBytes
    const bytes = Buffer.alloc(quarterLength(quarter, list.size))
    const limited = AbortSignal.any([signal, AbortSignal.timeout(EVIDENCE_LIMIT_MS)])
    try {
      const range = { start, end: start + bytes.length - 1 }
      const { body } = await tools.swarm.open(peer, request.digest, range, limited)
      let received = 0
      for await (const piece of body) {
        bytes.set(piece, received)
        received += piece.length
      }
      return await checkQuarter(tools.engine, list, quarter, bytes)
    } catch {
      return 'unknown'
    }
  }
}

/** Whether a signature is over the first states of a list. */
function isOver({ known, hash }: SignedPrefix, list: GrowingCheckpoints): boolean {
  if (known > list.known) return false
  const hasher = new ListHasher()
  hasher.append(list.encode().subarray(0, known * stateBytes))
  return hasher.digest().equals(hash)
}
