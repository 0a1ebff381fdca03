import fc from 'fast-check'
import { expect, test } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { NoProxy } from '../../../proxy/upstream/no-proxy.ts'
import { chooseProxy } from '../../../proxy/upstream/proxy.ts'

const isDirect = (entries: string, url: string) => new NoProxy(entries.split(',')).has(new URL(url))

// The table of golang.org/x/net/http/httpproxy, proxy_test.go (TestUseProxy), and ports.
const list =
  'foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64'

test.each([
  ['localhost', true],
  ['127.0.0.1', true],
  ['127.0.0.2', true],
  ['[::1]', true],
  ['[::2]', false],
  ['192.168.1.1', true],
  ['192.168.1.2', false],
  ['192.168.1.3', true],
  ['192.168.1.4', false],
  ['10.0.0.2', true],
  ['10.0.0.4', false],
  ['[2001:db8::52:0:1]', true],
  ['[2001:db8::52:0:2]', false],
  ['[2001:db8::52:0:3]', true],
  ['[2002:db8:a::123]', true],
  ['[fe80::424b:c8be:1643:a1b6]', false],
  ['barbaz.net', false],
  ['www.barbaz.net', true],
  ['foobar.com', true],
  ['www.foobar.com', true],
  ['foobar.com.', true],
  ['FooBar.com', true],
  ['foofoobar.com', false],
  ['baz.com', false],
  ['localhost.net', false],
  ['local.localhost', false],
  ['barbarbaz.net', false],
  ['wildcard.io', false],
  ['nested.wildcard.io', true],
  ['awildcard.io', false],
])('%s: directly %s', (host, expected) => {
  expect(isDirect(list, `http://${host}`)).toBe(expected)
})

test.each([
  ['example.com:443', 'https://example.com', true],
  ['example.com:443', 'https://sub.example.com', true],
  ['example.com:443', 'http://example.com', false],
  ['example.com:8443', 'https://example.com:8443', true],
  ['10.1.2.3:5000', 'http://10.1.2.3:5000', true],
  ['10.1.2.3:5000', 'http://10.1.2.3', false],
  ['10.0.0.0/8', 'http://0xa.1.2.3', true],
  ['10.0.0.0/8', 'http://[::ffff:10.1.2.3]', true],
  ['10.0.0.0/33', 'http://10.1.2.3', false],
  ['*', 'https://anything.example', true],
  ['a.example,*', 'https://10.1.2.3', true],
  ['', 'https://anything.example', false],
  [' , .,:80', 'http://anything.example', false],
])('%s for %s: %s', (entries, url, expected) => {
  expect(isDirect(entries, url)).toBe(expected)
})

test('no list makes it fail', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.webUrl(), (entries, url) => {
      expect(typeof new NoProxy(entries).has(new URL(url))).toBe('boolean')
    }),
  )
})

test("each scheme has its own proxy, and a registry's own goes before both, for all hosts", () => {
  const { proxy } = configSchema.parse({
    upstream: { proxy: { http: 'http://a:1', https: 'http://b:2', except: ['internal.example'] } },
  }).upstream
  const of = (own: string | undefined, url: string) => chooseProxy(own, proxy)(new URL(url))?.host
  expect(of(undefined, 'http://x.example')).toBe('a:1')
  expect(of(undefined, 'https://x.example')).toBe('b:2')
  expect(of(undefined, 'https://internal.example')).toBeUndefined()
  expect(of('http://c:3', 'https://internal.example')).toBe('c:3')
  expect(of('http://c:3', 'http://127.0.0.1')).toBe('c:3')
  expect(of('none', 'https://x.example')).toBeUndefined()
  const { proxy: half } = configSchema.parse({ upstream: { proxy: { http: 'http://a:1', https: 'none' } } }).upstream
  expect(chooseProxy(undefined, half)(new URL('https://x.example'))).toBeUndefined()
})
