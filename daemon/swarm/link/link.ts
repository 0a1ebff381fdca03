import type { TLSSocket } from 'node:tls'
import { Brake } from '../limits/brake.ts'
import { FAULT_COST, LINK_FRAME_COST, PART_EARNS } from '../limits/costs.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import type { PartHead, PeerId, ShareListener } from '../ports.ts'
import type { Upgraded, UpgradeKind } from '../transfer/upgrade.ts'
import type { Buffers } from './buffers.ts'
import { MAX_MESSAGE_BYTES, MAX_PART_BYTES, MAX_UNSENT_BYTES, STUCK_MS } from './constants.ts'
import { FrameReader, FrameWriter } from './frames.ts'
import { BulkLane, ControlLane } from './lane.ts'
import { PartReceiver } from './part-receiver.ts'
import { PartSender } from './part-sender.ts'

/** Memory that all links share. */
export interface LinkBuffers {
  /** As long as the longest part. */
  readonly parts: Buffers
  /** As long as a slice and its head. */
  readonly slices: Buffers
}

interface LinkOptions {
  readonly peer: PeerId
  readonly limits: PeerLimits
  readonly listener: ShareListener
  readonly buffers: LinkBuffers
  readonly open: (kind: UpgradeKind, signal: AbortSignal) => Promise<Upgraded>
  /** How long the peer may take to connect for parts, in ms. */
  readonly askMs: number
  /** Something has come from the peer. */
  readonly onHeard: () => void
  /** Called once, in a microtask of its own: no caller of a method is called back before it returns. */
  readonly onEnd: (link: Link, reason: Error) => void
}

/** Messages and parts to and from one peer. The link ends, for good, as soon as one of its connections does. */
export class Link {
  readonly peer: PeerId
  readonly #options: LinkOptions
  readonly #ended = new AbortController()
  readonly #lanes: { readonly control: ControlLane; readonly bulk: BulkLane }
  readonly #writer = new FrameWriter()
  readonly #sender: PartSender
  readonly #receivers = new Set<PartReceiver>()
  #isOver = false
  #isFlushing = false
  #movedAt = performance.now()
  /** Since when messages wait that the peer does not take (performance.now()). */
  #blockedSince: number | undefined
  readonly #flush = () => this.#write()
  readonly #fail = (error: Error) => this.end(error)

  constructor(options: LinkOptions) {
    this.peer = options.peer
    this.#options = options
    const fail = this.#fail
    const open = (kind: UpgradeKind) => () => options.open(kind, this.#ended.signal)
    this.#sender = new PartSender({ buffers: options.buffers.slices, moved: (bytes) => this.#moved('out', bytes) })
    this.#lanes = {
      control: new ControlLane({
        open: open('control'),
        receive: this.#receiveMessages(),
        onStanding: (socket) => {
          socket.on('drain', this.#flush)
          this.#write()
        },
        fail,
      }),
      bulk: new BulkLane({
        open: open('bulk'),
        ask: () => {
          this.#writer.pushPartsWait()
          this.#flushSoon()
        },
        askMs: options.askMs,
        receive: (socket) => this.#receiveParts(socket),
        onStanding: (socket) => this.#sender.start((bytes, callback) => socket.write(bytes, callback)),
        fail,
      }),
    }
  }

  /** When something last went over it (performance.now()). */
  get movedAt(): number {
    return this.#movedAt
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** See {@link Links.send}. */
  send(message: Uint8Array): void {
    if (this.#isOver) return
    const { control } = this.#lanes
    const unsent = this.#writer.length + (control.out?.writableLength ?? 0)
    if (message.length > MAX_MESSAGE_BYTES) {
      this.end(new RangeError(`a message of ${message.length} bytes; it may have ${MAX_MESSAGE_BYTES} at most`))
    } else if (unsent + message.length > MAX_UNSENT_BYTES) {
      this.end(new Error(`the peer does not read: ${unsent} bytes of messages wait for it`))
    } else {
      this.#writer.push(message)
      this.#flushSoon()
    }
  }

  #flushSoon(): void {
    this.#lanes.control.need()
    if (this.#isFlushing) return
    // A TLS record and a system call cost more than the bytes in them: messages of the same turn go in one.
    this.#isFlushing = true
    setImmediate(this.#flush)
  }

  /** See {@link Links.sendPart}. */
  sendPart(head: PartHead, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const sent = this.#sender.send(head, bytes, signal)
    this.#lanes.bulk.need()
    return sent
  }

  /** Takes a connection that the peer has opened. False where it has one of that kind already: then it has begun a new link. */
  accept(kind: UpgradeKind, upgraded: Upgraded): boolean {
    this.#heard()
    return this.#lanes[kind].accept(upgraded)
  }

  /** Ends the link where nothing went over it for `idleMs`, or the peer takes nothing. */
  check(now: number, idleMs: number): void {
    const stuckSince = Math.min(this.#blockedSince ?? now, this.#sender.waitingSince ?? now)
    if (now - this.#movedAt >= idleMs) this.end(new Error('nothing went over the link for a while'))
    else if (now - stuckSince > STUCK_MS) this.end(new Error('the peer does not read what is sent to it'))
  }

  end(reason: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#ended.abort(reason)
    for (const lane of Object.values(this.#lanes)) lane.close()
    this.#sender.close(reason)
    for (const receiver of this.#receivers) receiver.close()
    queueMicrotask(() => this.#options.onEnd(this, reason))
  }

  #write(): void {
    this.#isFlushing = false
    const { out } = this.#lanes.control
    // Messages that come while the peer is slow go in one write, at the next `drain`.
    if (this.#isOver || out === undefined || out.writableNeedDrain) return
    this.#blockedSince = undefined
    if (this.#writer.length === 0) return
    this.#movedAt = performance.now()
    if (!out.write(this.#writer.take())) this.#blockedSince = this.#movedAt
  }

  #receiveMessages(): (bytes: Buffer, socket: TLSSocket) => void {
    const { peer, limits, listener } = this.#options
    // Messages build on each other, so none can be left out.
    const spend = () => limits.spend(peer, LINK_FRAME_COST, 'messages on its link')
    const onMessage = (message: Buffer) => {
      if (this.#isOver) return
      spend()
      listener.message(peer, message)
    }
    const onPartsWait = () => {
      spend()
      this.#lanes.bulk.asked()
    }
    const reader = new FrameReader(onMessage, onPartsWait)
    let brake: Brake | undefined
    return (bytes, socket) => {
      brake ??= new Brake(limits, peer, {
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        isOpen: () => !socket.destroyed,
      })
      this.#heard()
      this.#blame(() => reader.push(bytes))
      brake.check()
    }
  }

  #receiveParts(socket: TLSSocket): (bytes: Buffer) => void {
    const { peer, listener, buffers } = this.#options
    const receiver = new PartReceiver({
      buffers: buffers.parts,
      deliver: (head, bytes) => listener.part(peer, head, bytes),
      moved: (bytes) => this.#moved('in', bytes),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      fail: this.#fail,
    })
    this.#receivers.add(receiver)
    return (bytes) => {
      this.#heard()
      this.#blame(() => receiver.push(bytes))
    }
  }

  #heard(): void {
    this.#movedAt = performance.now()
    this.#options.onHeard()
  }

  /** A peer that breaks the protocol is to do so a few times at most. */
  #blame(read: () => void): void {
    try {
      read()
    } catch (error) {
      this.#options.limits.spend(this.peer, FAULT_COST, 'messages that it should not send')
      throw error
    }
  }

  #moved(direction: 'in' | 'out', bytes: number): void {
    this.#movedAt = performance.now()
    this.#options.limits.earn(this.peer, (bytes / MAX_PART_BYTES) * PART_EARNS)
    this.#options.listener.moved(this.peer, direction, bytes)
  }
}
