import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import type { Problem } from './problems.ts'
import { dockerHubAliases } from './scalars.ts'
import { isTree, type Tree } from './tree.ts'

/** What was found for one registry. */
export interface HostSettings {
  /** Options of the registry. */
  readonly values: Tree
  /** The file, or the folder of files, that says so. */
  readonly origin: string
  readonly problems: readonly Problem[]
}

/** The largest file that is read, in bytes: a file of mirrors has a few hundred. */
const maxFileSize = 2 ** 20

/**
 * Reads containerd's `hosts.toml` (https://github.com/containerd/containerd/blob/main/docs/hosts.md): the server, and the
 * TLS settings of the top level or of the table `[host."URL"]` whose URL is the server, the table first. Other tables are
 * mirrors, which are not asked: this node may be one of them.
 * @param registry whose settings they are
 */
export function readHostsFile(file: string, registry: string): HostSettings {
  const problems: Problem[] = []
  const nothing = (message: string): HostSettings => ({
    values: {},
    origin: file,
    problems: [{ origin: file, path: '', message }],
  })
  let root: Tree
  try {
    const bytes = readFileSync(file)
    if (bytes.length > maxFileSize)
      return nothing(`the file has ${bytes.length} bytes; at most ${maxFileSize} are read`)
    root = parse(bytes.toString('utf8')) as Tree
  } catch (error) {
    // Headers in it may be secrets, and what follows the first line of the parser's message quotes the file.
    if (error instanceof TomlError) {
      const message = error.message.split('\n')[0]?.replace('Invalid TOML document: ', '') ?? 'no TOML'
      return { ...nothing(message), problems: [{ origin: `${file}:${error.line}:${error.column}`, path: '', message }] }
    }
    return nothing(`expected a file that can be read: ${(error as NodeJS.ErrnoException).code}`)
  }

  const server = serverOf(root, registry, (message) => problems.push({ origin: file, path: 'server', message }))
  const settings = { ...root, ...tableOf(root.host, server) }
  const values: Tree = {}
  const take = (key: string, convert: (value: unknown) => Tree | undefined, expected: string) => {
    if (settings[key] === undefined) return
    const converted = convert(settings[key])
    if (converted === undefined) problems.push({ origin: file, path: key, message: `expected ${expected}` })
    else Object.assign(values, converted)
  }
  const folder = dirname(file)
  take('override_path', (value) => (typeof value === 'boolean' ? { overridePath: value } : undefined), 'true or false')
  take('skip_verify', (value) => (typeof value === 'boolean' ? { insecure: value } : undefined), 'true or false')
  take('ca', (value) => authorities(value, folder), 'a path or a list of paths')
  take('client', (value) => clientPair(value, folder), 'one path, or one pair of paths in a list ([["cert", "key"]])')
  const isGiven = server !== undefined && root.server !== undefined
  if (isGiven && values.overridePath === true) values.endpoint = server.href.replace(/\/+$/, '')
  else {
    delete values.overridePath
    // containerd takes a path with or without the API's version for the same.
    if (isGiven && !isDefault(server, registry)) values.endpoint = server.href.replace(/\/(?:v2\/?)?$/, '')
  }
  return { values, origin: file, problems }
}

/** The server's URL: containerd takes it without a scheme, too. */
function serverOf({ server }: Tree, registry: string, problem: (message: string) => void): URL | undefined {
  if (server === undefined || server === '') return undefinedIfInvalid(`https://${registry}`)
  const text = typeof server === 'string' && !server.includes('://') ? `https://${server}` : server
  const url = typeof text === 'string' ? undefinedIfInvalid(text) : undefined
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username + url.password + url.search === '') return url
  problem('expected an http:// or https:// URL without credentials and query')
  return undefined
}

const undefinedIfInvalid = (text: string) => (URL.canParse(text) ? new URL(text) : undefined)

/** Whether a server is where the registry is anyway. Docker Hub is often written as `https://docker.io`. */
function isDefault({ protocol, host, pathname }: URL, registry: string): boolean {
  const name = dockerHubAliases.includes(host) ? 'docker.io' : host
  return protocol === 'https:' && name === registry && /^\/(?:v2\/?)?$/.test(pathname)
}

/** The settings of the table whose URL is the server. */
function tableOf(tables: unknown, server: URL | undefined): Tree {
  if (!isTree(tables) || server === undefined) return {}
  for (const [key, table] of Object.entries(tables)) {
    const url = undefinedIfInvalid(key.includes('://') ? key : `https://${key}`)
    const isServer = url?.origin === server.origin && withoutVersion(url) === withoutVersion(server)
    if (isServer && isTree(table)) return table
  }
  return {}
}

const withoutVersion = ({ pathname }: URL) => pathname.replace(/\/(?:v2\/?)?$/, '')

function authorities(value: unknown, folder: string): Tree | undefined {
  const paths = Array.isArray(value) ? value : [value]
  return areFiles(paths) ? { ca: paths.map((path) => resolve(folder, path)) } : undefined
}

/** One file that holds both, or a pair of files, of which the second may be empty. Which of several fits nobody says. */
function clientPair(value: unknown, folder: string): Tree | undefined {
  const list = Array.isArray(value) ? value : [value]
  const [pair] = list
  const [cert, key] = Array.isArray(pair) ? pair : [pair, '']
  if (list.length !== 1 || !areFiles([cert]) || typeof key !== 'string') return undefined
  return { cert: resolve(folder, cert), key: resolve(folder, key === '' ? cert : key) }
}

const areFiles = (paths: readonly unknown[]): paths is string[] =>
  paths.every((path) => typeof path === 'string' && path !== '')
