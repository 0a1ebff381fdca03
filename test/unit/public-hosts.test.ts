import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hostOfName, isPublicAddress, isPublicName } from '../../proxy/public-hosts.ts'

test.each([
  ['example.com', true],
  ['registry.example.co.uk', true],
  ['bucket.s3.amazonaws.com', true],
  ['me.github.io', true],
  ['com', false],
  ['co.uk', false],
  ['localhost', false],
  ['app.localhost', false],
  ['registry.local', false],
  ['registry.internal', false],
  ['metadata.google.internal', false],
  ['registry.lan', false],
  ['registry.svc.cluster.local', false],
  ['router.home.arpa', false],
  ['1.0.0.127.in-addr.arpa', false],
  ['hidden.onion', false],
  ['registry.test', false],
  ['registry.example', false],
  ['127.0.0.1', false],
  ['8.8.8.8', false],
  ['::1', false],
  ['2606:4700::1', false],
  ['', false],
])('the name %j is public: %s', (host, expected) => expect(isPublicName(host)).toBe(expected))

test.each([
  ['8.8.8.8', true],
  ['104.16.0.1', true],
  ['2606:4700::6810:1', true],
  ['2001:4860:4860::8888', true],
  ['0.0.0.0', false],
  ['10.1.2.3', false],
  ['100.64.0.1', false],
  ['100.127.255.255', false],
  ['100.128.0.1', true],
  ['127.0.0.1', false],
  ['127.255.0.1', false],
  ['169.254.169.254', false],
  ['172.16.0.1', false],
  ['172.31.255.255', false],
  ['172.32.0.1', true],
  ['192.168.0.1', false],
  ['192.0.2.1', false],
  ['198.18.0.1', false],
  ['224.0.0.1', false],
  ['239.255.255.255', false],
  ['240.0.0.1', false],
  ['255.255.255.255', false],
  ['::', false],
  ['::1', false],
  ['::ffff:127.0.0.1', false],
  ['::ffff:8.8.8.8', false],
  ['::7f00:1', false],
  ['64:ff9b::7f00:1', false],
  ['fc00::1', false],
  ['fd12:3456::1', false],
  ['fe80::1', false],
  ['fec0::1', false],
  ['ff02::1', false],
  ['2001::1', false],
  ['2001:db8::1', false],
  ['2002:7f00:1::1', false],
  ['3fff::1', false],
  ['', false],
  ['example.com', false],
])('the address %j is public: %s', (address, expected) => expect(isPublicAddress(address)).toBe(expected))

test('no address of IPv4 within IPv6 is public', () => {
  fc.assert(fc.property(fc.ipV4(), (address) => !isPublicAddress(`::ffff:${address}`)))
})

test('the host of a registry is its name without the port', () => {
  expect(['a.example', 'a.example:5000', '[::1]:5000', '[::1]'].map(hostOfName)).toEqual([
    'a.example',
    'a.example',
    '::1',
    '::1',
  ])
})
