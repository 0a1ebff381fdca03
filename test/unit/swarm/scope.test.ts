import { expect, it } from 'vitest'
import { scopeOf } from '../../../daemon/swarm/scope.ts'

const own = ['10.0.0.1', 'fd00::1', 'fe80::1%eth0']

it.each([
  ['127.0.0.1', 'machine'],
  ['127.9.9.9', 'machine'],
  ['::1', 'machine'],
  ['::ffff:127.0.0.1', 'machine'],
  ['::ffff:7f00:1', 'machine'],
  ['10.0.0.1', 'machine'],
  ['::ffff:10.0.0.1', 'machine'],
  ['fd00:0::1', 'machine'],
  ['169.254.169.254', 'link'],
  ['::ffff:169.254.169.254', 'link'],
  ['fe80::2', 'link'],
  ['fe80::2%eth0', 'link'],
  ['0.0.0.0', 'none'],
  ['0.1.2.3', 'none'],
  ['224.0.0.251', 'none'],
  ['255.255.255.255', 'none'],
  ['::', 'none'],
  ['::ffff:0.0.0.0', 'none'],
  ['ff02::fb', 'none'],
  ['localhost', 'none'],
  ['', 'none'],
  ['10.0.0.2', 'wide'],
  ['203.0.113.7', 'wide'],
  ['fd00::2', 'wide'],
  ['2001:db8::1', 'wide'],
])('%s is an address of the scope %s', (address, scope) => {
  expect(scopeOf(address, own)).toBe(scope)
})
