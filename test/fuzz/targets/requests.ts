import assert from 'node:assert/strict'
import { parseAddress } from '../../../config/scalars.ts'
import {
  blobPath,
  decodeConfirmation,
  encodeConfirmation,
  parsePath,
  tagPath,
} from '../../../daemon/swarm/transfer/messages.ts'
import { parsePlace } from '../../../daemon/swarm/transfer/places.ts'
import { digestOf, isDigest, parseDigest } from '../../../proxy/oci/digest.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import { imageBlobs, MAX_IMAGE_BLOBS } from '../../../proxy/oci/image-blobs.ts'
import { nextLink } from '../../../proxy/oci/link.ts'
import { manifestMediaType } from '../../../proxy/oci/manifest.ts'
import { isTag, parseTag } from '../../../proxy/oci/name.ts'
import { parseContentRange, parseRanges, resolveRanges } from '../../../proxy/oci/range.ts'
import type { Content } from '../../../proxy/ports.ts'
import { parseRepository } from '../../../proxy/routes/addressing.ts'
import { multipart } from '../../../proxy/routes/multipart.ts'
import { signedTag } from '../../fixtures/tags.ts'
import { isPlain, type Target, taken, text } from '../target.ts'

const sha256 = digestOf(Buffer.from('a'))
const sha512 = digestOf(Buffer.from('a'), 'sha512')
const isOci = (error: unknown) => error instanceof OciError && error.status >= 400 && error.status < 500
const known = { has: (name: string) => ['docker.io', 'ghcr.io', 'localhost:5000'].includes(name) }
const local = 'localhost'
const names = {
  registries: known,
  local: {
    registry: local,
    has: (name: string) => name === 'a',
    isBegun: (name: string) => name === 'a',
    isHidden: () => false,
    isHeld: () => false,
  },
}

const content = Buffer.from(Array.from({ length: 1000 }, (_, index) => index & 0xff))

/** Content that comes in small chunks. */
function contentOf(origin: Content['origin']): Content {
  return {
    origin,
    async *read(start: number, end = content.length - 1) {
      for (let at = start; at <= end; at += 64) yield content.subarray(at, Math.min(end + 1, at + 64))
    },
  } as unknown as Content
}

const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256, size: 1 }
const manifests = [
  { schemaVersion: 2, config, layers: [config, { ...config, digest: sha512, urls: ['https://a.example'] }] },
  { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [config] },
  { schemaVersion: 1, name: 'a', fsLayers: [] },
].map((manifest) => Buffer.from(JSON.stringify(manifest)))

export const requestTargets: readonly Target[] = [
  {
    name: 'transfer-path',
    corpus: text(blobPath(sha256), blobPath(sha512), tagPath('docker.io/library/alpine:3.20'), tagPath('a:5000/b:c')),
    words: ['/blobs/', '/tags/', '%2F', '%', 'sha256:', ':', '%00'],
    run: (bytes) => {
      const asked = parsePath(bytes.toString('latin1'))
      if (asked === undefined) return
      const path = asked.kind === 'blob' ? blobPath(asked.digest) : tagPath(asked.reference)
      assert.deepEqual(parsePath(path), asked)
    },
  },
  {
    name: 'tag-confirmation',
    corpus: text(
      encodeConfirmation(signedTag('docker.io/library/a:1', { digest: sha256, confirmedAt: 5 }), 10),
      encodeConfirmation(signedTag('docker.io/library/a:1', { digest: sha512, confirmedAt: 10, mediaType: 'a/b' }), 5),
    ),
    words: [
      '"digest":',
      '"ageMs":',
      '"at":',
      '"signer":',
      '"signature":',
      '"mediaType":',
      '-1',
      '1e400',
      'null',
      '{',
      '}',
    ],
    run: (bytes) => {
      const found = taken(
        () => decodeConfirmation(bytes.toString('utf8'), 1_000_000),
        (error) => error instanceof Error && !(error instanceof TypeError),
      )
      if (found === undefined) return
      assert.ok(isDigest(found.digest) && found.confirmedAt >= 0 && found.confirmedAt <= 1_000_000)
      assert.deepEqual(decodeConfirmation(encodeConfirmation(found, 1_000_000), 1_000_000), found)
    },
  },
  {
    name: 'place',
    corpus: text('a.example:4051', '[::1]:1', '10.0.0.1:65535', 'localhost:0'),
    words: [':', '[', ']', '::', '65536', '.'],
    run: (bytes) => {
      const place = parsePlace(bytes.toString('utf8'))
      if (place === undefined) return
      assert.ok(place.host !== '' && Number.isInteger(place.port) && place.port > 0 && place.port < 65536)
      assert.deepEqual(parseAddress(bytes.toString('utf8')), place)
    },
  },
  {
    name: 'repository',
    corpus: text('library/alpine', 'ghcr.io/a/b__c/d-e', 'index.docker.io/x', 'localhost:5000/a', 'a'),
    words: ['..', '/', '__', 'docker.io/', '%2f', ':', 'A'],
    run: (bytes, random) => {
      const path = bytes.toString('utf8')
      const namespace = random() < 0.5 ? undefined : ['docker.io', 'ghcr.io', path][Math.floor(random() * 3)]
      const repository = taken(
        () => parseRepository({ path, namespace, host: undefined, port: 5050 }, names),
        isOci,
      )?.repository
      if (repository === undefined) return
      assert.ok(repository.registry === local || known.has(repository.registry))
      assert.match(repository.name, /^[a-z0-9][a-z0-9._/-]*$/)
      assert.ok(!repository.name.split('/').includes('..'))
    },
  },
  {
    name: 'tag',
    corpus: text('latest', 'v1.2.3-rc_1', 'a'.repeat(128)),
    words: ['.', '-', '_', '/', ':'],
    run: (bytes) => {
      const tag = taken(() => parseTag(bytes.toString('utf8')), isOci)
      if (tag !== undefined) assert.ok(isTag(tag) && /^[\w][\w.-]{0,127}$/.test(tag))
    },
  },
  {
    name: 'digest',
    corpus: text(sha256, sha512),
    words: ['sha256:', 'sha512:', 'sha384:', ':'],
    run: (bytes) => {
      const digest = taken(() => parseDigest(bytes.toString('utf8')), isPlain)
      if (digest !== undefined) assert.match(digest, /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/)
    },
  },
  {
    name: 'range',
    corpus: text('bytes=0-0', 'bytes=5-', 'bytes=-7', 'bytes=0-9,20-29, 990-2000,-1'),
    words: ['bytes=', ',', '-', '0', '999', ' ', '999999999999999'],
    run: (bytes, random) => {
      const specs = parseRanges(bytes.toString('latin1'))
      if (specs === undefined) return
      const size = Math.floor(random() * 1100)
      const ranges = taken(() => resolveRanges(specs, size), isOci)
      for (const { start, end } of ranges ?? []) assert.ok(start >= 0 && start <= end && end < size)
    },
  },
  {
    name: 'content-range',
    corpus: text('bytes 0-0/1', 'bytes 5-99/100', 'bytes 0-9/*'),
    words: ['bytes ', '/', '-', '*', '999999999999999'],
    run: (bytes) => {
      const range = parseContentRange(bytes.toString('latin1'))
      if (range === undefined) return
      const { start, end, size } = range
      assert.ok(start >= 0 && start <= end && (size === undefined || end < size))
      assert.deepEqual(parseContentRange(`bytes ${start}-${end}/${size ?? '*'}`), range)
    },
  },
  {
    name: 'multipart',
    corpus: text('bytes=0-0,5-9', 'bytes=0-99,100-199,300-', 'bytes=900-,0-5', 'bytes=-1,-2,-3'),
    words: ['bytes=', ',', '-', '0', '999', ' '],
    run: async (bytes, random) => {
      const specs = parseRanges(bytes.toString('latin1'))
      const ranges = specs && taken(() => resolveRanges(specs, content.length), isOci)
      if (ranges === undefined) return
      const origin = random() < 0.5 ? 'store' : 'upstream'
      const answer = multipart(
        contentOf(origin as Content['origin']),
        content.length,
        ranges,
        'a/b',
        new AbortController().signal,
      )
      if (answer === undefined) return
      const body: Uint8Array[] = []
      for await (const piece of answer.body) body.push(piece)
      const all = Buffer.concat(body)
      assert.equal(all.length, answer.length)
      const [, boundary = ''] = answer.contentType.split('boundary=')
      const parts = all.toString('latin1').split(`--${boundary}`).slice(1, -1)
      assert.equal(parts.length, ranges.length)
      for (const [index, { start, end }] of ranges.entries()) {
        const [, part = ''] = (parts[index] ?? '').split('\r\n\r\n')
        assert.ok((parts[index] ?? '').endsWith(`${content.toString('latin1', start, end + 1)}\r\n`), part)
      }
    },
  },
  {
    name: 'manifest',
    corpus: manifests,
    words: ['"mediaType":', '"layers":', '"manifests":', '"schemaVersion":', '"digest":', sha256, 'null', '[', ']'],
    run: (bytes) => {
      const type = manifestMediaType(bytes, 'application/vnd.oci.image.manifest.v1+json')
      if (type !== undefined) assert.match(type, /^[\w.+-]+\/[\w.+-]+$/)
      const blobs = imageBlobs(bytes)
      assert.ok(blobs.length <= MAX_IMAGE_BLOBS && blobs.every(isDigest) && new Set(blobs).size === blobs.length)
    },
  },
  {
    name: 'link',
    corpus: text(
      '</v2/a/tags/list?n=5&last=b>; rel="next"',
      '<https://a.example/x>; rel=prev, <?last=1>; title="a, b"; rel="last next"',
      '/v2/a/tags/list?last=b; rel=next',
    ),
    words: ['<', '>', '; rel=', '"next"', ',', ';', '\\"', 'next'],
    run: (bytes) => {
      const link = nextLink(bytes.toString('latin1'))
      assert.ok(link === undefined || typeof link === 'string')
    },
  },
]
