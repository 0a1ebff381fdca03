import { formatBytes } from './terminal.ts'

/** What a node tells of a layer that it pulls. */
export interface LayerEvent {
  readonly digest: string
  readonly size: number
  readonly bytes: number
  readonly state: string
  readonly source: string
}

interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

interface Layer {
  event: LayerEvent
  readonly startedAt: number
}

/** How often the lines are drawn anew, in ms. */
const drawInterval = 100

const sources: Record<string, string> = { store: 'here', peer: 'peers', upstream: 'registry' }

/** Layers that are pulled: a line for each that changes as it comes, and where there is no terminal a line when it is here. */
export class LayerLines {
  readonly #screen: Screen
  readonly #layers = new Map<string, Layer>()
  #drawnLines = 0
  #drawnAt = Number.NEGATIVE_INFINITY

  constructor(screen: Screen) {
    this.#screen = screen
  }

  note(event: LayerEvent): void {
    const before = this.#layers.get(event.digest)
    const layer = { event, startedAt: before?.startedAt ?? performance.now() }
    this.#layers.set(event.digest, layer)
    if (this.#screen.isTTY === true) this.#draw(false)
    else if (event.state !== 'fetching') this.#screen.write(`${lineOf(layer)}\n`)
  }

  /** Draws what was not drawn yet. */
  end(): void {
    if (this.#screen.isTTY === true) this.#draw(true)
  }

  #draw(isLast: boolean): void {
    if (!isLast && performance.now() - this.#drawnAt < drawInterval) return
    this.#drawnAt = performance.now()
    // More lines than the screen has can't be drawn over: those that change are shown.
    const room = Math.max(1, (this.#screen.rows ?? 24) - 1)
    const layers = [...this.#layers.values()]
    const shown =
      isLast || layers.length <= room ? layers : layers.filter(({ event }) => event.state === 'fetching').slice(0, room)
    const up = this.#drawnLines === 0 ? '' : `\x1b[${this.#drawnLines}A`
    const width = this.#screen.columns ?? 80
    const lines = shown.map((layer) => `\x1b[K${lineOf(layer).slice(0, width - 1)}\n`)
    this.#screen.write(`${up}\r${lines.join('')}\x1b[J`)
    this.#drawnLines = lines.length
  }
}

function lineOf({ event: { digest, size, bytes, state, source }, startedAt }: Layer): string {
  const name = digest.slice(digest.indexOf(':') + 1).slice(0, 12)
  if (state === 'held') return `${name}  ${formatBytes(size)}  already here`
  const seconds = Math.max(0.001, (performance.now() - startedAt) / 1000)
  const rate = `${formatBytes(Math.round(bytes / seconds))}/s from ${sources[source] ?? source}`
  if (state === 'fetching') return `${name}  ${formatBytes(bytes)} of ${formatBytes(size)}  ${rate}`
  return `${name}  ${formatBytes(size)}  ${state === 'unkept' ? 'came, and is not kept' : `done, ${rate}`}`
}
