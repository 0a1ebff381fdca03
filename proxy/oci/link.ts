const separators = /[\s,]*/y
/** In angle brackets, as RFC 8288 has it, or bare, as some servers write it. */
const target = /<([^<>]*)>|((?:https?:\/\/|[/?])[^\s;,<>"']*)/y
const param = /[ \t]*;[ \t]*([\w!#$&+\-.^`|~*]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s;,"']*)))?/y

interface Link {
  readonly target: string
  /** In lower case; undefined where the link has none. */
  readonly relations: readonly string[] | undefined
}

/** Reads a `Link` header (RFC 8288, 3). What comes after a part that can't be read is left out. */
function parseLinks(header: string): readonly Link[] {
  const links: Link[] = []
  let position = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    const match = pattern.exec(header)
    if (match !== null) position = pattern.lastIndex
    return match
  }
  for (;;) {
    take(separators)
    const found = take(target)
    if (found === null) return links
    let relations: readonly string[] | undefined
    for (let pair = take(param); pair !== null; pair = take(param)) {
      const [, name, quoted, single, bare] = pair
      const value = quoted?.replace(/\\(.)/gs, '$1') ?? single ?? bare ?? ''
      // The first one counts (RFC 8288, 3.3).
      if (name?.toLowerCase() === 'rel') relations ??= value.toLowerCase().split(/\s+/)
    }
    links.push({ target: found[1] ?? found[2] ?? '', relations })
  }
}

/**
 * The target of the link to the next page (distribution-spec 1.1, "Content Discovery"); of links without a relation, which
 * clients take for that, only a single one.
 */
export function nextLink(header: string | undefined): string | undefined {
  const links = parseLinks(header ?? '')
  const next = links.find(({ relations }) => relations?.includes('next') === true)
  if (next !== undefined) return next.target
  const [only, ...others] = links
  return only !== undefined && only.relations === undefined && others.length === 0 ? only.target : undefined
}
