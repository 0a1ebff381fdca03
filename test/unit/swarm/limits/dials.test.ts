import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { Dials, HOST_DIALS } from '../../../../daemon/swarm/limits/dials.ts'

const peer = '/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X'

function scene() {
  let now = 0
  const dials = new Dials(() => now)
  const dialled: string[] = []
  const dial = async (text: string, isOpen = false) => {
    const address = multiaddr(text)
    return await dials
      .dial(address, async () => {
        dialled.push(text)
        if (!isOpen) throw new Error('refused')
      })
      .then(
        () => 'connected',
        ({ message }: Error) => message,
      )
  }
  const pass = (ms: number) => {
    now += ms
  }
  return { dials, dialled, dial, pass }
}

test('a place that failed is left alone for a time, whoever names it', async () => {
  const { dialled, dial, pass } = scene()
  const place = '/ip4/10.0.0.1/tcp/80'
  for (let time = 0; time < 60; time++) await dial(place + (time % 2 === 0 ? peer : ''))
  expect(dialled).toHaveLength(1)
  for (let second = 0; second < 60; second++) {
    pass(1000)
    await dial(place)
  }
  expect(dialled.length).toBeLessThan(10)
})

test('one host is dialled a few times in vain, whatever the port', async () => {
  const { dialled, dial } = scene()
  for (let port = 1; port <= 60; port++) await dial(`/ip4/10.0.0.1/tcp/${port}`)
  expect(dialled).toHaveLength(HOST_DIALS)
  expect(await dial('/ip4/10.0.0.2/tcp/1', true)).toBe('connected')
})

test('hosts and places that answer are dialled as often as they are wanted', async () => {
  const { dialled, dial } = scene()
  for (let port = 1; port <= 500; port++) expect(await dial(`/ip4/10.0.0.1/tcp/${port}`, true)).toBe('connected')
  for (let time = 0; time < 50; time++) await dial('/ip4/10.0.0.1/tcp/7')
  expect(await dial('/ip4/10.0.0.1/tcp/7', true)).toBe('connected')
  expect(dialled).toHaveLength(551)
})

test('what the user has named is always dialled, and all else again when the network has changed', async () => {
  const { dials, dialled, dial } = scene()
  dials.trust(multiaddr('/ip4/10.0.0.1/tcp/4050'))
  for (let time = 0; time < 50; time++) await dial('/ip4/10.0.0.1/tcp/4050')
  expect(dialled).toHaveLength(50)
  await dial('/ip4/10.0.0.2/tcp/1')
  dials.forgive()
  await dial('/ip4/10.0.0.2/tcp/1')
  expect(dialled).toHaveLength(52)
  for (let port = 1; port <= HOST_DIALS; port++) await dial(`/ip4/10.0.0.3/tcp/${port}`)
  dials.forgive()
  await dial('/ip4/10.0.0.3/tcp/4050')
  expect(dialled).toHaveLength(53 + HOST_DIALS)
})
