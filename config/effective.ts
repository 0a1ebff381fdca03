import { stringify } from 'yaml'
import { type Option, options, registryOptions } from './options.ts'
import type { Room } from './scalars.ts'
import type { Config, ListenAddress } from './schema.ts'
import { setAt, type Tree, valueAt } from './tree.ts'
import { formatAddress, formatDuration, formatShare, formatSize } from './units.ts'

/** What stands in place of a secret. */
const hidden = '***'

const writtenRoom = (room: Room) => ('bytes' in room ? formatSize(room.bytes) : formatShare(room.share))

function written(value: unknown, { kind, secret }: Option): unknown {
  if (kind === 'proxy') return (value as string).replace(/\/\/.*@/, `//${hidden}@`)
  if (secret) return hidden
  if (kind === 'size') return formatSize(value as number)
  if (kind === 'room') return writtenRoom(value as Room)
  if (kind === 'duration') return formatDuration(value as number)
  if (kind === 'address') return formatAddress(value as ListenAddress)
  if (kind === 'addresses') {
    const [first, ...others] = (value as readonly ListenAddress[]).map(formatAddress)
    return others.length === 0 ? first : [first, ...others]
  }
  return value
}

/** The effective configuration as YAML that can be a configuration file again, with secrets hidden. */
export function effectiveDocument(config: Config): string {
  const tree: Tree = {}
  const put = (path: readonly string[], option: Option) => {
    const value = valueAt(config, path)
    if (value !== undefined) setAt(tree, path, written(value, option))
  }
  for (const option of options) put(option.path, option)
  setAt(tree, ['registries'], {})
  for (const name of Object.keys(config.registries)) {
    for (const option of registryOptions) put(['registries', name, ...option.path], option)
  }
  return stringify(tree, { lineWidth: 0 })
}
