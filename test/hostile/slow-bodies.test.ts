import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { atEnd } from '../fixtures/at-end.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { startTestNode } from '../fixtures/node.ts'

const layer = pseudoRandomBytes(100_000, 'layer')
const digest = digestOf(layer)

/** How often the slow ones send a byte, in ms. */
const dripInterval = 500

describe.concurrent('a byte each half second', () => {
  it('from upstream is given up, and the rest asked for anew', async () => {
    const ranges: (string | undefined)[] = []
    const server = createServer((request, response) => {
      const { range } = request.headers
      ranges.push(range)
      const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)
      const head = {
        'content-length': layer.length - start,
        'content-range': `bytes ${start}-${layer.length - 1}/${layer.length}`,
      }
      response.writeHead(range === undefined ? 200 : 206, head)
      // The first one is slow.
      if (ranges.length > 1) return void response.end(layer.subarray(start))
      let at = start
      const drip = setInterval(() => response.write(layer.subarray(at, ++at)), dripInterval)
      response.once('close', () => clearInterval(drip))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    atEnd(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    // Headers that are late on a busy machine are not what is given up here.
    const upstream = { idleTimeout: '5s', responseTimeout: '60s' }
    await using client = new TestClient({ url: `http://${host}`, host }, { upstream })
    expect(await client.pull(digest)).toEqual(layer)
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)])
  }, 120_000)

  it('from a client is given up', async () => {
    const node = await startTestNode()
    const socket = connect(Number(new URL(node.url).port), '127.0.0.1')
    atEnd(() => void socket.destroy())
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(
      `POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${layer.length}\r\n\r\n`,
    )
    const drip = setInterval(() => socket.write('x'), dripInterval)
    await closed
    clearInterval(drip)
  }, 120_000)
})
