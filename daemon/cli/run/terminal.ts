/** How often a line is drawn anew, in ms. */
const drawInterval = 100

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** One line of standard error that says how far something is; nothing where that is no terminal. */
export class StatusLine {
  #drawnAt = 0
  #isShown = false

  show(text: () => string): void {
    if (!process.stderr.isTTY || performance.now() - this.#drawnAt < drawInterval) return
    this.#drawnAt = performance.now()
    this.#isShown = true
    process.stderr.write(`\r\x1b[K${text()}`)
  }

  clear(): void {
    if (this.#isShown) process.stderr.write('\r\x1b[K')
    this.#isShown = false
  }
}
