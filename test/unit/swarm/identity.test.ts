import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadIdentity, peerIdOf } from '../../../daemon/swarm/identity.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

async function setUp() {
  const folder = await tempDir()
  const file = join(folder, 'key')
  const warnings: unknown[] = []
  const log = { warn: (fields: unknown) => void warnings.push(fields) } as never
  const on = async (machine: string | undefined, allowedPeers: string[] = []) =>
    peerIdOf(await loadIdentity(file, { allowedPeers, log, machine: async () => machine }))
  return { folder, file, warnings, on }
}

test('is kept on the same machine', async () => {
  const { on, warnings } = await setUp()
  const first = await on('one')
  expect([await on('one'), await on('one'), warnings]).toEqual([first, first, []])
})

test('is another one where the data folder came from another machine; the old one is put aside', async () => {
  const { folder, file, on, warnings } = await setUp()
  const first = await on('one')
  const key = await readFile(file)
  const second = await on('other')
  expect(second).not.toBe(first)
  expect(await on('other')).toBe(second)
  expect((await readFile(`${file}.copied-${first}`)).equals(key)).toBe(true)
  expect(warnings).toEqual([{ peerId: first, aside: `${file}.copied-${first}` }])
  expect((await readdir(folder)).sort()).toEqual(['key', `key.copied-${first}`, 'machine'])
})

test('is kept where nothing tells machines apart, and of an earlier version', async () => {
  const { folder, on, warnings } = await setUp()
  const first = await on(undefined)
  expect(await readdir(folder)).toEqual(['key'])
  expect([await on('one'), await on(undefined), await on('one'), warnings]).toEqual([first, first, first, []])
})

test('is kept on another machine where nodes go by PeerIds, with a warning each time', async () => {
  const { folder, on, warnings } = await setUp()
  const first = await on('one')
  expect([await on('other', [first]), await on('other', [first])]).toEqual([first, first])
  expect(warnings).toEqual([{ peerId: first }, { peerId: first }])
  expect((await readdir(folder)).sort()).toEqual(['key', 'machine'])
})
