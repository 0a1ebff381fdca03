/**
 * The patterns by which rules name repositories and tags. `*` stands for any characters, none included; in repositories only
 * within one segment between slashes, where `**` as a segment of its own stands for any number of segments, none included. Pure:
 * configuration is checked with it, and the rules of a node are made of it.
 */

/** A registry, a slash, a repository, a colon and a tag, each as long as its grammar allows: nothing longer could match. */
const maxPatternLength = 255 + 1 + 255 + 1 + 128

const any = '*'
const anySegments = '**'

/** Takes out again what an entry before it in the same list has matched. */
const takesOut = '!'

/**
 * Whether a row of items fits a row of parts: a wildcard part stands for any number of items, each other one for one item.
 * Only the last wildcard is tried again, as an earlier one could not do better; so no part is compared with an item twice.
 */
function rowFits(
  parts: number,
  items: number,
  isWildcard: (part: number) => boolean,
  fits: (part: number, item: number) => boolean,
): boolean {
  let part = 0
  let item = 0
  let wildcard = -1
  /** The item after those that the last wildcard stands for. */
  let resumed = 0
  while (item < items) {
    if (part < parts && isWildcard(part)) {
      wildcard = part++
      resumed = item
    } else if (part < parts && fits(part, item)) {
      part++
      item++
    } else if (wildcard === -1) return false
    else {
      part = wildcard + 1
      item = ++resumed
    }
  }
  while (part < parts && isWildcard(part)) part++
  return part === parts
}

/** Whether text fits a pattern in which `*` stands for any characters. */
function textFits(pattern: string, text: string): boolean {
  return rowFits(
    pattern.length,
    text.length,
    (part) => pattern[part] === any,
    (part, item) => pattern[part] === text[item],
  )
}

function segmentsFit(pattern: readonly string[], segments: readonly string[]): boolean {
  return rowFits(
    pattern.length,
    segments.length,
    (part) => pattern[part] === anySegments,
    (part, item) => textFits(pattern[part] ?? '', segments[item] ?? ''),
  )
}

/** An entry without the `!` before it, and whether there was one. */
function split(entry: string): { readonly pattern: string; readonly isTakenOut: boolean } {
  const isTakenOut = entry.startsWith(takesOut)
  return { pattern: isTakenOut ? entry.slice(takesOut.length) : entry, isTakenOut }
}

/**
 * What a list of repository patterns matches; of its entries the last one that fits decides.
 * @returns told `registry/repository` in its canonical form, such as `docker.io/library/alpine`
 */
export function repositoryMatcher(list: readonly string[]): (repository: string) => boolean {
  if (list.length === 0) return () => false
  const lastFirst = list
    .map(split)
    .map(({ pattern, isTakenOut }) => ({ pattern: pattern.split('/'), isTakenOut }))
    .toReversed()
  return (repository) => {
    const segments = repository.split('/')
    return lastFirst.find(({ pattern }) => segmentsFit(pattern, segments))?.isTakenOut === false
  }
}

/** @param text without `!` */
function parseTagPattern(text: string): (segments: readonly string[], tag: string) => boolean {
  const colon = text.lastIndexOf(':')
  const tagPattern = text.slice(colon + 1)
  if (colon === -1) return (_, tag) => textFits(tagPattern, tag)
  const repository = text.slice(0, colon).split('/')
  return (segments, tag) => textFits(tagPattern, tag) && segmentsFit(repository, segments)
}

/**
 * The values that a list gives to tags; of its entries the last one that fits decides.
 * @param list pairs of a tag pattern (without `!`) and a value
 * @returns told `registry/repository` in its canonical form, and the tag; gives undefined where nothing fits
 */
export function tagValues<Value>(
  list: readonly { readonly pattern: string; readonly value: Value }[],
): (repository: string, tag: string) => Value | undefined {
  if (list.length === 0) return () => undefined
  const lastFirst = list.map(({ pattern, value }) => ({ fits: parseTagPattern(pattern), value })).toReversed()
  return (repository, tag) => {
    const segments = repository.split('/')
    return lastFirst.find(({ fits }) => fits(segments, tag))?.value
  }
}

/** What a list of tag patterns matches. @returns told `registry/repository` in its canonical form, and the tag */
export function tagMatcher(list: readonly string[]): (repository: string, tag: string) => boolean {
  const isListed = tagValues(list.map(split).map(({ pattern, isTakenOut }) => ({ pattern, value: !isTakenOut })))
  return (repository, tag) => isListed(repository, tag) === true
}

/** What patterns look like, as the end of "expected ...". */
const repositoryForm = 'a pattern registry/repository such as "docker.io/library/*" or "registry.example.com/team/**"'
const tagForm = 'a pattern of tags such as "v*.*.*" or "registry.example.com/team/**:v*"'

const registrySegment = /^[a-z0-9.*-]+(?::[0-9*]+)?$|^\[[0-9a-f:*]+\](?::[0-9*]+)?$/
const nameSegment = /^[a-z0-9._*-]+$/
const tagText = /^[A-Za-z0-9._*-]+$/

/** Other names of Docker Hub, which are none in canonical names. */
const dockerHub = 'docker.io'
const dockerHubAliases = ['index.docker.io', 'registry-1.docker.io']

/** What would be right in place of a repository pattern that nobody can read, or that can match nothing. */
function mistakeInRepository(pattern: string): string | undefined {
  const segments = pattern.split('/')
  const [registry = '', ...name] = segments
  if (segments.some((segment) => segment !== anySegments && segment.includes(anySegments))) {
    return '"**" as a segment of its own between slashes'
  }
  if (name.length === 0) return registry === anySegments ? undefined : repositoryForm
  if (dockerHubAliases.includes(registry)) return `"${dockerHub}", which is what references call this registry`
  if (!registrySegment.test(registry) || !name.every((segment) => nameSegment.test(segment))) {
    return `${repositoryForm}, in lower case and without a tag`
  }
  if (registry === dockerHub && name.length === 1 && name[0] !== anySegments) {
    return `"${dockerHub}/library/${name[0]}" or "${dockerHub}/**", as Docker Hub's own images are in library/`
  }
  return undefined
}

/** @returns what would be right, as the end of "expected ..."; undefined where nothing is wrong */
export function repositoryPatternMistake(entry: string): string | undefined {
  if (entry.length > maxPatternLength) return `at most ${maxPatternLength} characters`
  return mistakeInRepository(split(entry).pattern)
}

/** @returns what would be right, as the end of "expected ..."; undefined where nothing is wrong */
export function tagPatternMistake(entry: string): string | undefined {
  if (entry.length > maxPatternLength) return `at most ${maxPatternLength} characters`
  const { pattern } = split(entry)
  const colon = pattern.lastIndexOf(':')
  if (!tagText.test(pattern.slice(colon + 1))) return tagForm
  return colon === -1 ? undefined : mistakeInRepository(pattern.slice(0, colon))
}

/** `latest=0s` -> its pattern and the text of its duration; undefined where there is no `=`. */
export function splitFreshness(entry: string): { readonly pattern: string; readonly duration: string } | undefined {
  const at = entry.lastIndexOf('=')
  return at === -1 ? undefined : { pattern: entry.slice(0, at).trim(), duration: entry.slice(at + 1).trim() }
}

/** Who may publish names, besides PeerIds: members of a closed swarm and peers that the user accepted; anybody; nobody. */
const publisherWords = ['members', 'anyone', 'nobody']

/** `12D3KooW...=team/**` -> who may publish, and in which repositories; in all where there is no `=`. */
export function splitPublisher(entry: string): { readonly who: string; readonly pattern: string | undefined } {
  const at = entry.indexOf('=')
  return at === -1 ? { who: entry, pattern: undefined } : { who: entry.slice(0, at), pattern: entry.slice(at + 1) }
}

/** @returns what would be right, as the end of "expected ..."; undefined where nothing is wrong */
export function publisherMistake(entry: string, isPeerId: (text: string) => boolean): string | undefined {
  const { who, pattern } = splitPublisher(entry)
  if (!publisherWords.includes(who) && !isPeerId(who)) {
    return 'members, anyone, nobody or a PeerId, with "=" and a pattern of names behind it or without, such as "members=team/**"'
  }
  if (pattern === undefined) return undefined
  const segments = pattern.split('/')
  if (pattern.length > maxPatternLength || !segments.every((segment) => nameSegment.test(segment)))
    return 'a pattern of names without a registry and a tag behind "=", such as "team/**"'
  return segments.some((segment) => segment !== anySegments && segment.includes(anySegments))
    ? '"**" as a segment of its own between slashes'
    : undefined
}
