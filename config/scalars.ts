import { isIP } from 'node:net'
import { z } from 'zod'
import { publisherMistake, repositoryPatternMistake, splitFreshness, tagPatternMistake } from './patterns.ts'
import { formatDuration, formatSize, parseDuration, parseShare, parseSize } from './units.ts'

/** The kinds of single values that options have. Each carries its kind, from which variables and documents are made. */

/** What would be right, by kind: the same words in error messages and in default.yaml. */
export const expectations = {
  size: 'a size such as "20 GiB" or "500MB"',
  room: 'a size such as "10 GiB", or a share of the disk from 0% to 90% such as "5%"',
  duration: 'a duration such as "250ms", "10s" or "5m"',
  address: 'host:port such as "127.0.0.1:5050" or "[::]:5050"',
  addresses: 'host:port, or a list of them such as ["10.0.0.1:4050", "[fd00::1]:4050"]',
  path: 'a path',
  paths: 'a path or a list of paths',
  proxy: '"none" or the URL of an HTTP proxy such as "http://proxy.example:3128"',
} as const

export type ScalarKind = keyof typeof expectations

declare module 'zod' {
  interface GlobalMeta {
    kind?: ScalarKind
    /** The value is never shown. */
    secret?: boolean
  }
}

const refuse = (context: z.RefinementCtx, expected: string) => {
  context.addIssue({ code: 'custom', message: `expected ${expected}` })
  return z.NEVER
}

const quantity = z.union([z.string(), z.number()])

/** Bytes. */
export const size = (fallback: number) =>
  quantity
    .transform((value, context) => parseSize(String(value)) ?? refuse(context, expectations.size))
    .meta({ kind: 'size' })
    .prefault(formatSize(fallback))

/** A part of a disk: bytes, or a share from 0 to 1. */
export type Room = { readonly bytes: number } | { readonly share: number }

/** Above this share of the disk hardly anything could be kept. */
const largestShare = 0.9

function parseRoom(text: string): Room | undefined {
  const share = parseShare(text)
  if (share !== undefined) return share <= largestShare ? { share } : undefined
  const bytes = parseSize(text)
  return bytes === undefined ? undefined : { bytes }
}

/** Part of a disk. */
export const room = (fallback: string) =>
  quantity
    .transform((value, context): Room => parseRoom(String(value)) ?? refuse(context, expectations.room))
    .meta({ kind: 'room' })
    .prefault(fallback)

const durationText = (shortest: number, longest: number) =>
  quantity
    .transform((value, context) => {
      const ms = parseDuration(String(value))
      if (ms === undefined) return refuse(context, expectations.duration)
      if (ms >= shortest && ms <= longest) return ms
      return refuse(context, `a duration from ${formatDuration(shortest)} to ${formatDuration(longest)}`)
    })
    .meta({ kind: 'duration' })

const day = 86_400_000

/** Milliseconds that something stays valid for; 0 turns it off. */
const lifetime = durationText(0, 365 * day)
export const duration = (fallback: number) => lifetime.prefault(formatDuration(fallback))

// Node's timers fire at once above 24.8 days.
const longestTimer = day

/** Milliseconds that something waits for; 0 does not wait. */
export const wait = (fallback: number) => durationText(0, longestTimer).prefault(formatDuration(fallback))

/** Milliseconds of a deadline. 0 is refused: libraries take it for "no deadline". */
export const timeoutText = durationText(1, longestTimer)
export const timeout = (fallback: number) => timeoutText.prefault(formatDuration(fallback))

const addressPattern = /^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):(\d{1,5})$/

/** Reads `host:port`, with an IPv6 address in brackets; undefined where text is none. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = addressPattern.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] === undefined || port > 65535) return undefined
  return { host: match[1].replace(/^\[|\]$/g, ''), port }
}

/** `host:port`; port 0 takes a free one. */
const addressText = z
  .string()
  .transform((text, context) => parseAddress(text) ?? refuse(context, expectations.address))
  .meta({ kind: 'address' })

export const address = (fallback: string) => addressText.prefault(fallback)

/** `host:port`, or several of them as a list. */
export const addresses = (fallback: string) =>
  z
    .union([z.string(), z.array(z.string()).min(1)])
    .transform((texts, context) => {
      if (typeof texts === 'string') return [parseAddress(texts) ?? refuse(context, expectations.addresses)]
      return texts.map((text, index) => {
        const parsed = parseAddress(text)
        if (parsed !== undefined) return parsed
        context.addIssue({ code: 'custom', path: [index], message: `expected ${expectations.address}` })
        return z.NEVER
      })
    })
    .meta({ kind: 'addresses' })
    .prefault(fallback)

/** Longer ones of a few would not fit into what nodes tell each other. */
const longestAnnounced = 100

/** `host:port` that others are told: no port 0, and not all addresses. */
const announcedAddress = z.string().refine(
  (text) => {
    const { host = '', port = 0 } = parseAddress(text) ?? {}
    return port > 0 && host !== '0.0.0.0' && host !== '::' && text.length <= longestAnnounced
  },
  { message: 'expected host:port that peers can connect to, such as "203.0.113.7:14051"' },
)

/** Addresses of one server that a node may tell its peers: each of them tries all. */
export const maxAnnounced = 4

export const announcedAddresses = z
  .array(announcedAddress)
  .refine((list) => list.length <= maxAnnounced, `expected at most ${maxAnnounced} addresses`)
  .default([])

/** The address of a listener that is there only where it is set. */
export const optionalAddress = addressText.optional()

/** A file or folder. Loading makes it absolute: `~` is the home directory, the rest is relative to where it is written. */
export const filePath = z.string().min(1).meta({ kind: 'path' })

/** One file or several, as a list. */
export const filePaths = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((paths) => (typeof paths === 'string' ? [paths] : paths))
  .meta({ kind: 'paths' })

export const httpUrl = z
  .string()
  .refine((text) => /^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/.test(text) && URL.canParse(text), {
    message:
      'expected an http:// or https:// URL without credentials and query, such as "https://registry.example.com"',
  })

const proxyPattern = /^https?:\/\/(?:[^\s/?#]*@)?[^\s/?#@]+(?:\/[^\s?#]*)?$/

/** Whether text is a proxy's URL, with or without user and password. */
export function isProxyUrl(text: string): boolean {
  if (!proxyPattern.test(text) || !URL.canParse(text)) return false
  try {
    const { username, password } = new URL(text)
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

/** An HTTP proxy, or `none`. What stands before an `@` in it is a secret. */
export const proxy = z
  .string()
  .refine((text) => text === 'none' || isProxyUrl(text), { message: `expected ${expectations.proxy}` })
  .meta({ kind: 'proxy', secret: true })

const multiaddrPattern = /^(?:\/(?:ip4|ip6|dns|dns4|dns6|dnsaddr|tcp|p2p)\/[^\s/]+)+$/

const isMultiaddr = (text: string) => multiaddrPattern.test(text)

export const multiaddr = z.string().refine(isMultiaddr, {
  message: 'expected a multiaddr such as "/ip4/203.0.113.7/tcp/4050"',
})

/** A multiaddr, with or without a PeerId, or `host:port`. */
export const seed = z
  .string()
  .refine((text) => isMultiaddr(text) || (addressPattern.test(text) && !text.endsWith(':0')), {
    message: 'expected a multiaddr such as "/dns4/layerd.example/tcp/4050", or host:port',
  })

// Ed25519 and secp256k1 keys inline, RSA as a hash, and all of them as a CID.
export const peerId = z.string().regex(/^(?:12D3KooW|16Uiu2|Qm|bafz|k)[0-9A-Za-z]{40,}$/, {
  message: 'expected a PeerId such as "12D3KooW..."',
})

/** Other names of the registry that references call `docker.io`. */
export const dockerHubAliases: readonly string[] = ['index.docker.io', 'registry-1.docker.io']

/** Whether a name in the list of registries stands for all names below a domain, such as `*.example.com`. */
export const isPattern = (name: string): boolean => name.startsWith('*.')

export const registryName = z
  .string()
  .regex(
    /^(?:localhost|\*(?:\.[a-z0-9-]+)+|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9-]+(?=:)|\[[0-9a-f:]+\])(?::\d{1,5})?$/,
    'expected a registry name as in references, in lower case, such as "registry.example.com" or "registry.example.com:5000", or a pattern such as "*.example.com"',
  )
  .refine((name) => URL.canParse(`https://${name}`), { message: 'expected a registry name with a valid port' })
  .refine((name) => !dockerHubAliases.includes(name), {
    message: 'expected "docker.io", which is what references call this registry',
  })

/** Text that is checked, and stays as it is written. */
const checkedText = (mistake: (text: string) => string | undefined) =>
  z.string().superRefine((text, context) => {
    const right = mistake(text)
    if (right !== undefined) refuse(context, right)
  })

/** How a server is called, without a port: a name, `*.` and a name for all names below it, or an address. */
export const serverName = checkedText((text) => {
  const isAddress = isIP(text.replace(/^\[|\]$/g, '')) !== 0
  const isName = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/i.test(text)
  return isAddress || isName ? undefined : 'a name or an address without a port, such as "mirror.example.com"'
})

/** A pattern of repositories. */
export const repositoryPattern = checkedText(repositoryPatternMistake)

/** A pattern of tags, in any repository or in those of a pattern. */
export const tagPattern = checkedText(tagPatternMistake)

/** Who may publish names, and which. */
export const publisher = checkedText((text) => publisherMistake(text, (who) => peerId.safeParse(who).success))

/** `pattern=duration`. */
export const freshness = checkedText((text) => {
  const parts = splitFreshness(text)
  if (parts === undefined) return 'a pattern of tags and a duration such as "latest=0s" or "nightly-*=1m"'
  if (parts.pattern.startsWith('!')) return 'a pattern without "!": a later entry comes before an earlier one'
  if (!lifetime.safeParse(parts.duration).success) return `${expectations.duration} (at most 365d) behind the "="`
  return tagPatternMistake(parts.pattern)
})
