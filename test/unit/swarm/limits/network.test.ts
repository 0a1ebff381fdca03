import { expect, test } from 'vitest'
import { originOf } from '../../../../daemon/swarm/limits/network.ts'

test.each([
  ['10.0.0.7', '10.0.0.7', '10.0.0.7'],
  ['::ffff:10.0.0.7', '10.0.0.7', '10.0.0.7'],
  ['::FFFF:10.0.0.7', '10.0.0.7', '10.0.0.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64', '2001:db8:1:2:3:4:5:6'],
  ['2001:DB8:0001:02::1', '2001:db8:1:2::/64', '2001:db8:0001:02::1'],
  ['2001:db8::1', '2001:db8:0:0::/64', '2001:db8::1'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64', '64:ff9b::192.0.2.1'],
  ['::1', '0:0:0:0::/64', '::1'],
  ['fe80::1%eth0', 'fe80::1%eth0', 'fe80::1%eth0'],
  ['unknown', 'unknown', 'unknown'],
  ['', '', ''],
])('%s is in the network %s', (text, network, address) => {
  expect(originOf(text)).toEqual([network, address])
})
