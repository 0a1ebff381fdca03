import { describe, expect, it } from 'vitest'
import { NameTable } from '../../../daemon/names/table.ts'
import type { SignedName } from '../../../daemon/swarm/ports.ts'
import { statement } from '../../fixtures/names.ts'

const bounds = { ofPublisher: 4, ofStranger: 2, ofStrangers: 5, inAll: 10 }
const say = (publisher: string, reference: string, fields: Partial<SignedName> = {}): SignedName => ({
  ...statement({ reference }),
  publisher,
  signature: Buffer.alloc(64),
  ...fields,
})
const gone = { digest: undefined }
const tags = (table: NameTable, publisher: string) => table.ofPublisher(publisher).map(({ reference }) => reference)

/** As a node takes a record: only what there is room for. @returns what gave way to it */
function take(table: NameTable, name: SignedName, teller = name.publisher, isStranger = false) {
  if (!table.admits(name, isStranger, teller)) return [name.reference]
  return table.add(name, isStranger, { teller }).dropped.map(({ reference }) => reference)
}

describe('records of names', () => {
  it('are one for each publisher and name, the last that was given', () => {
    const table = new NameTable('me', bounds)
    table.add(say('a', '1'), false)
    table.add(say('b', '1', { sequence: 7 }), false)
    table.add(say('a', '1', { sequence: 2 }), false)
    expect(table.of('app').map(({ publisher, sequence, order }) => [publisher, sequence, order])).toEqual([
      ['b', 7, 2],
      ['a', 2, 1],
    ])
    expect(table.size).toBe(2)
    for (const known of table.of('app')) table.remove(known)
    expect([table.of('app'), table.repositories(), table.publishers()]).toEqual([[], [], []])
  })

  it('of one publisher are those that it has said last, on all nodes, in whatever order they come', () => {
    const said = [
      say('a', 'latest', { at: 1 }),
      ...Array.from({ length: 6 }, (_, index) => say('a', `${index}`, { at: 2 + index })),
      // It is the oldest tag, and the one that was pushed last.
      say('a', 'latest', { at: 9, sequence: 2 }),
    ]
    const one = new NameTable('me', bounds)
    for (const name of said) take(one, name)
    const other = new NameTable('you', bounds)
    for (const name of said.toReversed()) if (other.latest(name) === undefined) take(other, name)
    expect(tags(one, 'a').toSorted()).toEqual(['3', '4', '5', 'latest'])
    expect(tags(other, 'a').toSorted()).toEqual(tags(one, 'a').toSorted())
    // To be told all again changes nothing, nor is anything news.
    for (const name of said.slice(1, 4)) expect(one.admits(name, false, 'a')).toBe(false)
  })

  it('that one peer has told them all are those that were said last, where there is no room for more', () => {
    const said = Array.from({ length: 15 }, (_, at) => say(`publisher ${at}`, '1', { at }))
    const [one, other] = [new NameTable('me', bounds), new NameTable('me', bounds)]
    for (const name of said) take(one, name, 'hub')
    for (const name of said.toReversed()) take(other, name, 'hub')
    const last = said.slice(-10).map(({ publisher }) => publisher)
    for (const table of [one, other]) expect(new Set(table.publishers())).toEqual(new Set(last))
    // What has given way is no news when it is told again.
    for (const name of said.slice(0, 5)) expect(one.admits(name, false, 'hub')).toBe(false)
  })

  it('that are deleted give way to later deletions alone', () => {
    const table = new NameTable('me', bounds)
    for (let at = 0; at < 4; at++) take(table, say('a', `gone ${at}`, { at, ...gone }))
    for (let at = 10; at < 30; at++) take(table, say('a', `${at}`, { at }))
    expect(tags(table, 'a').filter((tag) => tag.startsWith('gone'))).toHaveLength(4)
    expect(take(table, say('a', 'gone', { at: 5, ...gone }))).toEqual(['gone 0'])
  })

  it('of this node itself are all kept, but for what was deleted long ago, and peers hear of what they keep', () => {
    const table = new NameTable('me', bounds)
    for (let at = 0; at < 20; at++) table.add(say('me', `${at}`, { at }), false)
    for (let at = 20; at < 30; at++) table.add(say('me', `${at}`, { at, ...gone }), false)
    expect(table.ofPublisher('me')).toHaveLength(24)
    expect(table.keptOf('me').map(({ reference }) => Number(reference))).toEqual([26, 27, 28, 29, 16, 17, 18, 19])
    expect([table.untold, table.lastAt]).toEqual([16, 29])
  })

  it('of all are shared out by who tells them: made-up publishers take the room of whoever passes them on', () => {
    const table = new NameTable('me', bounds)
    for (const publisher of ['a', 'b', 'c']) take(table, say(publisher, '1'))
    for (let made = 0; made < 100; made++) take(table, say(`made up ${made}`, '1'), 'evil')
    expect(table.size).toBe(bounds.inAll)
    for (const publisher of ['a', 'b', 'c']) expect(tags(table, publisher)).toEqual(['1'])
    for (const tag of ['2', '3']) expect(take(table, say('a', tag))).toEqual(['1'])
    expect(tags(table, 'a')).toEqual(['1', '2', '3'])
    expect(table.size).toBe(bounds.inAll)
  })

  it('of strangers are few, and those with most of them lose some', () => {
    const table = new NameTable('me', bounds)
    for (const tag of ['1', '2']) take(table, say('friend', tag))
    for (const tag of ['1', '2', '3']) take(table, say('a', tag), 'a', true)
    for (let stranger = 0; stranger < 100; stranger++) take(table, say(`stranger ${stranger}`, '1'), undefined, true)
    expect(tags(table, 'friend')).toEqual(['1', '2'])
    expect(table.size).toBe(2 + bounds.ofStrangers)
  })
})
