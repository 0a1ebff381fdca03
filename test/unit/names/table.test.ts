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
const tags = (table: NameTable, publisher: string) => table.ofPublisher(publisher).map(({ reference }) => reference)

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

  it('of one publisher are bounded: what was deleted goes first, then the oldest', () => {
    const table = new NameTable('me', bounds)
    for (const tag of ['1', '2', '3', '4']) table.add(say('a', tag, tag === '3' ? { digest: undefined } : {}), false)
    expect(table.add(say('a', '5'), false).dropped.map(({ reference }) => reference)).toEqual(['3'])
    expect(table.add(say('a', '6'), false).dropped.map(({ reference }) => reference)).toEqual(['1'])
    expect(tags(table, 'a')).toEqual(['2', '4', '5', '6'])
  })

  it('of this node itself are all kept, but for what was deleted long ago', () => {
    const table = new NameTable('me', bounds)
    for (let tag = 0; tag < 20; tag++) table.add(say('me', `${tag}`), false)
    for (let tag = 20; tag < 30; tag++) table.add(say('me', `${tag}`, { digest: undefined }), false)
    for (const publisher of ['a', 'b', 'c'])
      for (let tag = 0; tag < 9; tag++) table.add(say(publisher, `${tag}`), false)
    expect(table.ofPublisher('me')).toHaveLength(24)
    expect(table.size).toBe(34)
  })

  it('of strangers are few, and those with most of them lose some', () => {
    const table = new NameTable('me', bounds)
    for (const tag of ['1', '2']) table.add(say('friend', tag), false)
    for (const tag of ['1', '2', '3']) table.add(say('a', tag), true)
    for (let stranger = 0; stranger < 100; stranger++) table.add(say(`stranger ${stranger}`, '1'), true)
    expect(tags(table, 'friend')).toEqual(['1', '2'])
    expect(table.size).toBe(2 + bounds.ofStrangers)
  })
})
