/** Sizes and durations as people write them. Both parsers give undefined for text that is neither. */

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 }

const quantityPattern = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/

function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = quantityPattern.exec(text.trim())
  const unit = match === null ? undefined : units[match[2] ?? '']
  if (match === null || unit === undefined) return undefined
  const value = Math.round(Number(match[1]) * unit)
  return Number.isSafeInteger(value) ? value : undefined
}

/** `20 GiB`, `500MB`, `1024` -> bytes. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, sizeUnits)
}

/** `5%`, `2.5 %` -> 0.05, 0.025. */
export function parseShare(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim())
  return match === null ? undefined : Number(match[1]) / 100
}

/** `250ms`, `10s`, `5m`, `24h`, `7d` -> milliseconds. A number without a unit is refused: nobody can tell what it means. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, durationUnits)
}

/** The shortest exact text for a number of bytes. */
export function formatSize(bytes: number): string {
  const unit = (['TiB', 'GiB', 'MiB', 'KiB'] as const).find((name) => bytes > 0 && bytes % (sizeUnits[name] ?? 1) === 0)
  return unit === undefined ? `${bytes} B` : `${bytes / (sizeUnits[unit] ?? 1)} ${unit}`
}

/** As `parseShare` reads it. */
export function formatShare(share: number): string {
  return `${Number((share * 100).toPrecision(12))}%`
}

/** The shortest exact text for a number of milliseconds. */
export function formatDuration(ms: number): string {
  const unit = (['d', 'h', 'm', 's'] as const).find((name) => ms > 0 && ms % (durationUnits[name] ?? 1) === 0)
  return unit === undefined ? `${ms}ms` : `${ms / (durationUnits[unit] ?? 1)}${unit}`
}

/** `host:port`, as options have it. */
export function formatAddress({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
