import { applyEdits, modify, type ParseError, parse, printParseErrorCode } from 'jsonc-parser'
import { isTree } from '../../../config/tree.ts'
import { Failure } from '../failure.ts'
import type { Client, Disk, Plan, Wish } from './client.ts'

const usualFile = '/etc/docker/daemon.json'

/** Where flags of dockerd may stand: it does not start where one says the same as daemon.json. */
const flagPlaces = [
  '/lib/systemd/system/docker.service',
  '/usr/lib/systemd/system/docker.service',
  '/etc/systemd/system/docker.service',
  '/etc/default/docker',
  '/etc/sysconfig/docker',
]
const dropIns = '/etc/systemd/system/docker.service.d'

/** Docker Engine: `registry-mirrors` in daemon.json, which is for docker.io only. */
export const docker: Client = {
  about: 'Docker Engine, for docker.io; other registries by name',
  journal: 'docker',
  restartAfter: () => ['systemctl reload docker'],
  plan({ mirror, file = usualFile, disk, registries }: Wish): Plan {
    const url = `http://${mirror}`
    const others = registries?.filter((name) => name !== 'docker.io') ?? []
    const notes = [
      ...(others.length > 0
        ? [`Docker has mirrors for docker.io only; pull from ${others.join(', ')} as ${mirror}/${others[0]}/…`]
        : [`other registries by name: docker pull ${mirror}/quay.io/…`]),
      ...(isLoopback(mirror)
        ? []
        : [`${mirror} is not on this machine: Docker asks for https there, or for "insecure-registries"`]),
    ]
    const text = disk.read(file)
    const settings = text === undefined || text.trim() === '' ? {} : parseJson(file, text)
    const before = settings['registry-mirrors'] ?? []
    if (!Array.isArray(before)) throw new Failure(`${file}: "registry-mirrors" is no list; nothing was changed`)
    if (before.some((one) => sameUrl(one, url))) return { edits: [], notes }
    refuseFlags(disk)
    return {
      edits: [{ path: file, text: setMirrors(text, [url, ...before]) }],
      notes,
    }
  },
}

function isLoopback(mirror: string): boolean {
  return /^(?:127\.|\[::1\]|localhost:)/.test(mirror)
}

function sameUrl(one: unknown, other: string): boolean {
  return typeof one === 'string' && one.replace(/\/+$/, '') === other
}

function parseJson(file: string, text: string): Record<string, unknown> {
  const errors: ParseError[] = []
  const value = parse(text, errors, { disallowComments: true })
  const [error] = errors
  if (error !== undefined) {
    const line = text.slice(0, error.offset).split('\n').length
    throw new Failure(`${file}:${line}: ${printParseErrorCode(error.error)}: Docker can't read it; nothing was changed`)
  }
  if (!isTree(value)) throw new Failure(`${file} holds no object: Docker can't read it; nothing was changed`)
  return value
}

function refuseFlags(disk: Disk): void {
  const places = [...flagPlaces, ...disk.list(dropIns).map((name) => `${dropIns}/${name}`)]
  const place = places.find((path) => /^[^#]*--registry-mirror/m.test(disk.read(path) ?? ''))
  if (place === undefined) return
  throw new Failure(
    `${place} gives dockerd --registry-mirror, and Docker does not start where daemon.json has mirrors as well; nothing was changed. Add the mirror to that flag, or take the flag out and try again`,
  )
}

function setMirrors(text: string | undefined, mirrors: readonly unknown[]): string {
  const isEmpty = text === undefined || text.trim() === ''
  const indent = isEmpty ? '  ' : (/\n([ \t]+)"/.exec(text)?.[1] ?? '  ')
  const formattingOptions = {
    insertSpaces: !indent.startsWith('\t'),
    tabSize: indent.startsWith('\t') ? 1 : indent.length,
    eol: text?.includes('\r\n') === true ? '\r\n' : '\n',
  }
  const before = isEmpty ? '{}' : text
  const edited = applyEdits(before, modify(before, ['registry-mirrors'], mirrors, { formattingOptions }))
  return isEmpty ? `${edited}\n` : edited
}
