import type { NetworkInterfaceInfo } from 'node:os'
import { expect, test } from 'vitest'
import { InterfaceWatch } from '../../../../daemon/swarm/discovery/interfaces.ts'

const address = (cidr: string, internal = false) =>
  ({ address: cidr.split('/')[0], cidr, internal }) as NetworkInterfaceInfo

test('says when the machine has gained or lost an address, and nothing of such that reach no peer', () => {
  let now: NodeJS.Dict<NetworkInterfaceInfo[]> = { lo: [address('127.0.0.1/8', true)], eth0: [address('10.0.0.2/24')] }
  let changes = 0
  const watch = new InterfaceWatch({ onChange: () => changes++, read: () => now })
  const after = (next: typeof now) => {
    now = next
    watch.look()
    return changes
  }
  const before = now
  expect(after({ ...before, veth1: [address('fe80::1/64')], lo: [address('127.0.0.2/8', true)] })).toBe(0)
  expect(after({ eth0: [address('10.0.0.3/24')] })).toBe(1)
  expect(after({ eth0: [address('10.0.0.3/16')] })).toBe(2)
  expect(after({ eth0: [address('10.0.0.3/16')], eth1: [address('2001:db8::1/64')] })).toBe(3)
  expect(after({})).toBe(4)
  expect(after({})).toBe(4)
})
