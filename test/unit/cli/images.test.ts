import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { LayerLines } from '../../../daemon/cli/run/layers.ts'
import { imagesText, offersText } from '../../../daemon/cli/run/manage.ts'

const digest = `sha256:${'ab'.repeat(32)}`
const image = {
  name: 'docker.io/library/app:1',
  digest,
  origin: 'registry',
  platforms: ['linux/amd64'],
  incomplete: [],
  isComplete: true,
  bytes: 5_000_000,
  createdAt: 0,
  isPinned: true,
}

describe('the table of images', () => {
  it('says what is complete, and what is missing of the others', () => {
    const incomplete = [{ platform: 'linux/arm64', missingBlobs: 2, missingBytes: 3 * 2 ** 20 }]
    const part = {
      ...image,
      name: `ghcr.io/a@${digest}`,
      platforms: [],
      incomplete,
      isComplete: false,
      isPinned: false,
    }
    const bare = { ...image, name: 'docker.io/b:1', platforms: [], isComplete: false, isPinned: false }
    expect(imagesText([image, part, bare], 3 * 86_400_000 + 5).split('\n')).toEqual([
      'NAME                     DIGEST        PLATFORMS    SIZE     AGE  FROM      STATE',
      'docker.io/library/app:1  abababababab  linux/amd64  4.8 MiB  3 d  registry  complete, pinned',
      'ghcr.io/a                abababababab  -            4.8 MiB  3 d  registry  linux/arm64 lacks 2 blobs (3.0 MiB)',
      'docker.io/b:1            abababababab  -            4.8 MiB  3 d  registry  only its manifest',
    ])
    expect(imagesText([], 0)).toMatch(/no image is here: "layerd pull"/)
  })
})

describe('the table of what peers offer', () => {
  it('says who says so, and what accepts them', () => {
    const offer = { name: 'localhost/app:1', digest, publisher: '12D3', fingerprint: 'a-b-c', isHere: true }
    expect(
      offersText([
        { ...offer, isAccepted: true },
        { ...offer, isAccepted: false },
      ]).split('\n'),
    ).toEqual([
      'OFFERED BY PEERS  DIGEST        BY     STATE',
      'localhost/app:1   abababababab  a-b-c  accepted, here',
      'localhost/app:1   abababababab  a-b-c  not accepted: layerd trust a-b-c',
    ])
  })
})

function screen(terminal: object) {
  const written: string[] = []
  return { written, lines: new LayerLines({ ...terminal, write: (text: string) => written.push(text) }) }
}

const layer = { digest, size: 2_000_000, bytes: 1_000_000, state: 'fetching', source: 'peer', ms: 500 }

describe('layers that are pulled', () => {
  it('are a line each when they are here, where there is no terminal', () => {
    const { written, lines } = screen({})
    lines.note(layer)
    lines.note({ ...layer, bytes: 2_000_000, state: 'done' })
    lines.note({ ...layer, digest: `sha256:${'cd'.repeat(32)}`, state: 'held', source: 'store' })
    lines.end()
    expect(written).toEqual([
      'abababababab  1.9 MiB  done, 3.8 MiB/s from peers\n',
      'cdcdcdcdcdcd  1.9 MiB  already here\n',
    ])
  })

  it('are drawn over each other on a terminal, and no wider or longer than that', () => {
    const { written, lines } = screen({ isTTY: true, columns: 30, rows: 3 })
    for (let at = 0; at < 10; at++) lines.note({ ...layer, digest: `sha256:${String(at).repeat(64)}` })
    lines.end()
    const plain = (text: string) => stripVTControlCharacters(text).replaceAll('\r', '')
    expect(plain(written[0] ?? '')).toMatch(/^0{12} {2}976\.6 KiB of/)
    const shown = (written.at(-1) ?? '').split('\n')
    expect(shown.length - 1).toBe(10)
    expect(shown.every((line) => plain(line).length < 30)).toBe(true)
  })
})
