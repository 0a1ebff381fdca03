import type { NetworkInterfaceInfo } from 'node:os'
import { expect, onTestFinished, test, vi } from 'vitest'
import { reachesPeers, watchInterfaces } from '../../../../daemon/swarm/discovery/interfaces.ts'

const machine = vi.hoisted(() => ({ addresses: {} as NodeJS.Dict<NetworkInterfaceInfo[]> }))
vi.mock('node:os', () => ({ networkInterfaces: () => machine.addresses }))

const address = (cidr: string, internal = false) =>
  ({
    address: cidr.split('/')[0],
    cidr,
    internal,
    family: cidr.includes(':') ? 'IPv6' : 'IPv4',
  }) as NetworkInterfaceInfo

test('who watches interfaces is told when the machine has gained or lost an address that matters', () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  machine.addresses = { lo: [address('127.0.0.1/8', true)], eth0: [address('10.0.0.2/24')] }
  let all = 0
  let ofPeers = 0
  const unwatch = [watchInterfaces(() => all++), watchInterfaces(() => ofPeers++, reachesPeers)]
  const after = (next: typeof machine.addresses) => {
    machine.addresses = next
    vi.advanceTimersByTime(2_000)
    return [all, ofPeers]
  }
  const before = machine.addresses
  expect(after({ ...before, veth1: [address('fe80::1/64')], lo: [address('127.0.0.2/8', true)] })).toEqual([1, 0])
  expect(after({ eth0: [address('10.0.0.3/24')] })).toEqual([2, 1])
  expect(after({ eth0: [address('10.0.0.3/16')] })).toEqual([3, 2])
  expect(after({ eth0: [address('10.0.0.3/16')], eth1: [address('2001:db8::1/64')] })).toEqual([4, 3])
  expect(after({})).toEqual([5, 4])
  for (const stop of unwatch) stop()
  expect(after(before)).toEqual([5, 4])
})
