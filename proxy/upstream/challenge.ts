/** One way to authenticate that a server offers (RFC 9110, 11.3). */
export interface Challenge {
  /** In lower case, such as `bearer`. */
  readonly scheme: string
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>
}

const separators = /[\s,]*/y
const param = /([!#$%&'*+\-.^_`|~\w]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^_`|~\w:/]+))/sy
const scheme = /([!#$%&'*+\-.^_`|~\w]+)(?![ \t]*=)(?:[ \t]+[\w\-.~+/]+=*(?=[ \t]*(?:,|$)))?/y

/**
 * Reads a `WWW-Authenticate` header that may hold several challenges (RFC 9110, 11.6.1). What comes after a part that
 * is malformed is left out. Unquoted values may hold `:` and `/`, because registries send such realms.
 */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  const text = header ?? ''
  const challenges: { readonly scheme: string; readonly params: Map<string, string> }[] = []
  let position = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    const match = pattern.exec(text)
    if (match !== null) position = pattern.lastIndex
    return match
  }
  for (;;) {
    take(separators)
    const params = challenges.at(-1)?.params
    const pair = params === undefined ? null : take(param)
    if (params !== undefined && pair !== null) {
      const name = (pair[1] ?? '').toLowerCase()
      const value = pair[2]?.replace(/\\(.)/gs, '$1') ?? pair[3] ?? ''
      const before = params.get(name)
      // A parameter must occur once; a second one is somebody's attempt to confuse. Scopes are a list, however it is written.
      if (before === undefined) params.set(name, value)
      else if (name === 'scope') params.set(name, `${before} ${value}`)
      continue
    }
    const name = take(scheme)?.[1]
    if (name === undefined) return challenges
    challenges.push({ scheme: name.toLowerCase(), params: new Map() })
  }
}
