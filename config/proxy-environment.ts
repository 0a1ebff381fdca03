import type { Environment } from './environment.ts'
import type { Layer } from './layer.ts'
import { isProxyUrl } from './scalars.ts'
import { type Path, setAt, type Tree, valueAt } from './tree.ts'

/** The options that the variables fill which all programs share, in the order in which Go reads these. */
const shared: readonly (readonly [option: string, ...variables: string[]])[] = [
  ['http', 'HTTP_PROXY', 'http_proxy'],
  ['https', 'HTTPS_PROXY', 'https_proxy'],
  ['except', 'NO_PROXY', 'no_proxy'],
]

/**
 * `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as the weakest layer (golang.org/x/net/http/httpproxy, which container tools
 * share). A variable whose option is set anywhere else is not looked at: it may hold what only other programs can use.
 */
export function readProxyEnvironment(env: Environment, others: readonly Layer[]): Layer {
  const values: Tree = {}
  const origins = new Map<string, string>()
  for (const [option, ...variables] of shared) {
    const name = variables.find((variable) => env[variable])
    const text = name === undefined ? undefined : env[name]
    const path = ['upstream', 'proxy', option]
    if (name === undefined || text === undefined) continue
    if (others.some((layer) => valueAt(layer.values, path) !== undefined)) continue
    if (option !== 'except' && !isProxyUrl(withScheme(text.trim()))) continue
    setAt(values, path, option === 'except' ? entries(text) : withScheme(text.trim()))
    origins.set(option, name)
  }
  const isProxy = ([first, second]: Path) => first === 'upstream' && second === 'proxy'
  return { values, origin: (path) => (isProxy(path) ? origins.get(String(path[2])) : undefined), problems: [] }
}

/**
 * The variables that name a proxy of another kind (SOCKS). Other programs may need them, so that they are no mistake, but
 * registries are asked without it.
 */
export function unusableProxies(env: Environment): readonly string[] {
  return shared
    .filter(([option]) => option !== 'except')
    .flatMap(([, ...variables]) => variables.find((variable) => env[variable]) ?? [])
    .filter((name) => !isProxyUrl(withScheme((env[name] ?? '').trim())))
}

const entries = (text: string) =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')

/** `proxy:3128` is an HTTP proxy, as Go has it. */
const withScheme = (text: string) => (text.includes('://') ? text : `http://${text}`)
