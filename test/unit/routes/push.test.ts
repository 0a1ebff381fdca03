import { expect, it } from 'vitest'
import type { RegistryContext } from '../../../proxy/routes/context.ts'
import { assertMayPush, type PushPolicy } from '../../../proxy/routes/push.ts'

it.each<[PushPolicy, string | undefined, boolean]>([
  ['loopback', '127.0.0.1', true],
  ['loopback', '127.8.0.1', true],
  ['loopback', '::1', true],
  ['loopback', '::ffff:127.0.0.1', true],
  ['loopback', '10.0.0.1', false],
  ['loopback', '::ffff:10.0.0.1', false],
  ['loopback', '2001:db8::1', false],
  ['loopback', '128.127.0.1', false],
  // The connection is gone already.
  ['loopback', undefined, false],
  ['always', '10.0.0.1', true],
  ['never', '127.0.0.1', false],
])('%s lets %s push: %s', (policy, remoteAddress, isAllowed) => {
  const ctx = { method: 'PUT', req: { socket: { remoteAddress }, headers: {} } } as unknown as RegistryContext
  const push = () => assertMayPush(ctx, policy)
  if (isAllowed) expect(push).not.toThrow()
  else expect(push).toThrow(expect.objectContaining({ code: 'DENIED', status: 403 }))
})

it.each(['forwarded', 'via', 'x-forwarded-for', 'x-real-ip'])('loopback is not for whom a proxy asks (%s)', (name) => {
  const req = { socket: { remoteAddress: '127.0.0.1' }, headers: { [name]: '10.0.0.1' } }
  const push = () => assertMayPush({ method: 'PUT', req } as unknown as RegistryContext, 'loopback')
  expect(push).toThrow(expect.objectContaining({ code: 'DENIED', status: 403 }))
})
