import { once } from 'node:events'
import { createServer } from 'node:http'
import net from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { connecting } from '../../../proxy/upstream/connecting.ts'
import { Dispatchers } from '../../../proxy/upstream/dispatchers.ts'
import { Bounds, OwnPorts } from '../../../proxy/upstream/guard.ts'

test.each([
  [5_000, 1_666],
  [30_000, 10_000],
  [100, 250],
])('of the %i ms that a connection may take, each address gets %i ms', (timeout, attempt) => {
  expect(connecting(timeout).autoSelectFamilyAttemptTimeout).toBe(attempt)
})

test.each(['direct', 'by a proxy'])('sockets to a registry connect in this way: %s', async (way) => {
  const server = createServer((_, answer) => answer.end('here'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as net.AddressInfo
  const url = new URL(`http://127.0.0.1:${port}`)
  const dispatchers = new Dispatchers({
    origin: url.origin,
    tls: { rejectUnauthorized: true },
    clientCertificate: undefined,
    connectTimeout: 6_000,
    proxy: () => (way === 'direct' ? undefined : url),
    bounds: new Bounds(url, [], new OwnPorts()),
    publicOnly: false,
  })
  onTestFinished(() => dispatchers.destroy())
  const connect = vi.spyOn(net, 'connect')
  onTestFinished(() => connect.mockRestore())
  const dispatcher = dispatchers.for(url, false)
  const { body } = await dispatcher.request({ origin: url.origin, path: '/', method: 'GET' })
  expect(await body.text()).toBe('here')
  expect(connect.mock.calls[0]?.[0]).toMatchObject({ autoSelectFamilyAttemptTimeout: 2_000 })
})
