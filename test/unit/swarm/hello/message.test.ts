import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { maxAnnounced } from '../../../../config/scalars.ts'
import { HELLO_VERSION, MAX_HELLO_BYTES } from '../../../../daemon/swarm/hello/constants.ts'
import { announcedPlaces, decodeHello, encodeHello } from '../../../../daemon/swarm/hello/message.ts'

const fingerprint = 'ab'.repeat(32)
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

describe('a hello', () => {
  test('is read as it was written, on one line', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 65535 }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (port, hash) => {
        const hello = { port, fingerprint: Buffer.from(hash).toString('hex') }
        const line = encodeHello(hello)
        expect(line.indexOf(10)).toBe(line.length - 1)
        expect(line.length).toBeLessThan(MAX_HELLO_BYTES)
        expect(decodeHello(line.subarray(0, -1))).toEqual({ ...hello, version: HELLO_VERSION })
      }),
    )
  })

  test('may announce places, and those that can not be read are left out', () => {
    const transfer = ['203.0.113.7:14051', '[fd00::1]:14051', 'node.example:1', 'node.example']
    const line = encodeHello({ port: 1, fingerprint, transfer })
    expect(announcedPlaces(decodeHello(line))).toEqual([
      { host: '203.0.113.7', port: 14051 },
      { host: 'fd00::1', port: 14051 },
      { host: 'node.example', port: 1 },
    ])
  })

  test('that announces too many places, or some in a form of later versions, counts as far as it is understood', () => {
    const transfer = [...Array.from({ length: maxAnnounced }, (_, index) => `203.0.113.${index}:1`)]
    const line = text({
      version: 2,
      port: 1,
      fingerprint,
      transfer: [{ later: 'form' }, ...transfer, '203.0.113.9:1', 7],
    })
    expect(decodeHello(line)).toMatchObject({ port: 1, transfer })
  })

  test('has room for all that a node may tell', () => {
    const transfer = Array.from({ length: maxAnnounced }, () => `${'a'.repeat(94)}:14051`)
    const line = encodeHello({ port: 65535, fingerprint, site: '~'.repeat(64), transfer })
    expect(line.length).toBeLessThan(MAX_HELLO_BYTES)
  })

  test('may tell a site', () => {
    const site = '~'.repeat(64)
    expect(decodeHello(encodeHello({ port: 1, fingerprint, site }))).toMatchObject({ site })
  })

  test.each([1, 3])('of version %i is read, and may have fields of later releases', (version) => {
    expect(decodeHello(text({ version, port: 1, fingerprint, zone: 'a' }))).toEqual({ version, port: 1, fingerprint })
  })

  test.each([
    ['no JSON', new TextEncoder().encode('hello')],
    ['no UTF-8', Uint8Array.from([0xff, 0xfe])],
    ['nothing', new Uint8Array()],
    ['another shape', text([1, 2])],
    ['no version', text({ port: 1, fingerprint })],
    ['an old version', text({ version: 0, port: 1, fingerprint })],
    ['a site without a name', text({ version: 2, port: 1, fingerprint, site: '' })],
    ['a site with a long name', text({ version: 2, port: 1, fingerprint, site: 'a'.repeat(65) })],
    ['a site with a line break', text({ version: 2, port: 1, fingerprint, site: 'a\nb' })],
    ['a port that is none', text({ version: 1, port: 65536, fingerprint })],
    ['a port as text', text({ version: 1, port: '1', fingerprint })],
    ['a short fingerprint', text({ version: 1, port: 1, fingerprint: 'ab' })],
    ['an upper-case fingerprint', text({ version: 1, port: 1, fingerprint: 'AB'.repeat(32) })],
  ])('that is %s is refused', (_, line) => {
    expect(() => decodeHello(line)).toThrow()
  })
})
