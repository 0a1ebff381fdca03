import { formatBytes } from './terminal.ts'

/** What a node tells of a layer that it pulls. */
export interface LayerEvent {
  readonly digest: string
  readonly size: number
  readonly bytes: number
  readonly state: string
  readonly source: string
  /** Since it was asked for, in ms. */
  readonly ms: number
}

interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** How often the lines are drawn anew, in ms. */
const drawInterval = 100

const sources: Record<string, string> = { store: 'here', peer: 'peers', upstream: 'registry' }

/** Layers that are pulled: a line for each that changes as it comes, and where there is no terminal a line when it is here. */
export class LayerLines {
  readonly #screen: Screen
  readonly #layers = new Map<string, LayerEvent>()
  #drawnLines = 0
  #drawnAt = Number.NEGATIVE_INFINITY

  constructor(screen: Screen) {
    this.#screen = screen
  }

  note(event: LayerEvent): void {
    this.#layers.set(event.digest, event)
    if (this.#screen.isTTY === true) this.#draw(false)
    else if (event.state !== 'fetching') this.#screen.write(`${lineOf(event)}\n`)
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
      isLast || layers.length <= room ? layers : layers.filter(({ state }) => state === 'fetching').slice(0, room)
    const up = this.#drawnLines === 0 ? '' : `\x1b[${this.#drawnLines}A`
    const width = this.#screen.columns ?? 80
    const lines = shown.map((layer) => `\x1b[K${lineOf(layer).slice(0, width - 1)}\n`)
    this.#screen.write(`${up}\r${lines.join('')}\x1b[J`)
    this.#drawnLines = lines.length
  }
}

function lineOf({ digest, size, bytes, state, source, ms }: LayerEvent): string {
  const name = digest.slice(digest.indexOf(':') + 1).slice(0, 12)
  if (state === 'held') return `${name}  ${formatBytes(size)}  already here`
  const rate = `${formatBytes(Math.round((bytes * 1_000) / Math.max(1, ms)))}/s from ${sources[source] ?? source}`
  if (state === 'fetching') return `${name}  ${formatBytes(bytes)} of ${formatBytes(size)}  ${rate}`
  return `${name}  ${formatBytes(size)}  ${state === 'unkept' ? 'came, and is not kept' : `done, ${rate}`}`
}
