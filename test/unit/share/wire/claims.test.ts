import { decode, encode } from 'cborg'
import { describe, expect, it } from 'vitest'
import type { Turn, Want } from '../../../../daemon/share/plan/messages.ts'
import { encodeTurns, encodeWants, parseClaim } from '../../../../daemon/share/wire/claims.ts'
import { WireError } from '../../../../daemon/share/wire/reader.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const blob = digestOf(Buffer.from('a'))
const want: Want = { blob, brought: 3, wish: 'part', sought: 16 }
const turn: Turn = { blob, role: 'none', head: 'peer-1', brought: 7, members: ['peer-1', 'peer-2'] }
const sent = (message: object) => parseClaim(decode(encode(message)))
const peers = (count: number) => Array.from({ length: count }, (_, index) => `peer-${index}`)

describe('messages about claims', () => {
  it('are read as they were written', () => {
    const wishes = ['part', 'hungry', 'unable', 'done', 'soon', 'gone'] as const
    const wants = wishes.map((wish) => ({ ...want, wish }))
    expect(sent(encodeWants(wants))).toEqual({ kind: 'wants', wants })
    const turns: Turn[] = [turn, { ...turn, role: 'head', head: undefined, members: [] }, { ...turn, role: 'racer' }]
    expect(sent(encodeTurns(turns))).toStrictEqual({ kind: 'turns', turns })
    const far: Want = { ...want, far: 8 }
    expect(sent(encodeWants([far]))).toStrictEqual({ kind: 'wants', wants: [far] })
    expect(sent(encodeTurns([{ ...turn, far: 'head' }]))).toStrictEqual({
      kind: 'turns',
      turns: [{ ...turn, far: 'head' }],
    })
    expect(sent(encodeWants([]))).toEqual({ kind: 'wants', wants: [] })
  })

  it('name some members where there are more than a message takes', () => {
    const members = peers(65)
    expect(sent(encodeTurns([{ ...turn, members }]))).toEqual({
      kind: 'turns',
      turns: [{ ...turn, members: members.slice(0, 64) }],
    })
  })

  it('take 128 wants or turns', () => {
    expect(sent(encodeWants(Array(128).fill(want)))).toMatchObject({ wants: { length: 128 } })
    expect(sent(encodeTurns(Array(128).fill(turn)))).toMatchObject({ turns: { length: 128 } })
    expect(() => encodeWants(Array(129).fill(want))).toThrow(RangeError)
    expect(() => encodeTurns(Array(129).fill(turn))).toThrow(RangeError)
  })

  it('may be of nodes that tell more', () => {
    expect(parseClaim({ kind: 'wants', wants: [{ ...want, hope: 1 }], more: 2 })).toEqual({
      kind: 'wants',
      wants: [want],
    })
  })

  it.each<[string, unknown]>([
    ['are of no kind', { kind: 'x', wants: [] }],
    ['are no objects', 5],
    ['have no wants', { kind: 'wants' }],
    ['have more than 128 wants', { kind: 'wants', wants: Array(129).fill(want) }],
    ['have more than 128 turns', { kind: 'turns', turns: Array(129).fill(turn) }],
    ['name more than 64 members', { kind: 'turns', turns: [{ ...turn, members: peers(65) }] }],
    ['name nobody', { kind: 'turns', turns: [{ ...turn, members: [''] }] }],
    ['name members at length', { kind: 'turns', turns: [{ ...turn, members: ['p'.repeat(129)] }] }],
    ['name a head at length', { kind: 'turns', turns: [{ ...turn, head: 'p'.repeat(129) }] }],
    ['have another role', { kind: 'turns', turns: [{ ...turn, role: 'boss' }] }],
    ['have another role at other sites', { kind: 'turns', turns: [{ ...turn, far: 'boss' }] }],
    ['have brought less than nothing from other sites', { kind: 'wants', wants: [{ ...want, far: -1 }] }],
    ['have another wish', { kind: 'wants', wants: [{ ...want, wish: 'all' }] }],
    ['are of no digest', { kind: 'wants', wants: [{ ...want, blob: 'sha256:1' }] }],
    ['have brought less than nothing', { kind: 'wants', wants: [{ ...want, brought: -1 }] }],
    ['have brought parts of parts', { kind: 'wants', wants: [{ ...want, brought: 0.5 }] }],
    ['have brought more than there can be', { kind: 'turns', turns: [{ ...turn, brought: 2 ** 32 }] }],
    ['seek more than there can be', { kind: 'wants', wants: [{ ...want, sought: 2 ** 32 }] }],
  ])('are refused where they %s', (_, message) => {
    expect(() => parseClaim(message)).toThrow(WireError)
  })

  it('say where they are malformed', () => {
    expect(() => parseClaim({ kind: 'wants', wants: [want, { ...want, blob: 'x' }] })).toThrow(
      'a message about claims is malformed at its wants.1.blob: expected a digest',
    )
  })
})
