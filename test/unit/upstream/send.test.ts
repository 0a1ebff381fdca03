import type { Dispatcher } from 'undici'
import { expect, test } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import type { Authorizer } from '../../../proxy/upstream/authorization.ts'
import { createRegistry } from '../../../proxy/upstream/registry.ts'
import { Sender } from '../../../proxy/upstream/send.ts'

const logger = { debug: () => {}, warn: () => {} }

/** How often a host is tried to which no connection comes about. @param takes how long each try takes, in ms */
async function triesOf(takes: number): Promise<number> {
  const clock = { now: 0 }
  const now = () => clock.now
  const config = configSchema.parse({
    registries: { 'r.example': { endpoint: 'https://r.example' } },
    upstream: { connectTimeout: '5s', attempts: 4 },
  })
  const entry = config.registries['r.example']
  if (entry === undefined) throw new Error('it is not there')
  const files = { clientCertificate: undefined }
  let tries = 0
  // As Node says it of a host that has several addresses.
  const timeout = (code: string) => Object.assign(new Error(code), { code })
  const error = new AggregateError([timeout('ETIMEDOUT'), timeout('ENETUNREACH')])
  const dispatcher = {
    dispatch: (_: unknown, handler: Dispatcher.DispatchHandler) => {
      tries++
      clock.now += takes
      handler.onResponseError?.({} as never, error)
      return true
    },
  } as unknown as Dispatcher
  const registry = {
    ...createRegistry('r.example', entry, { settings: config.upstream, files, userAgent: 'test', now }),
    dispatcherFor: () => dispatcher,
  }
  const timing = { now, random: () => 0, sleep: async () => {} }
  const sender = new Sender({ known: () => undefined } as unknown as Authorizer, 4, timing, logger, () => undefined)
  const request = {
    registry,
    requestor: { kind: 'anonymous', key: 'anonymous', isGuest: false },
    repository: { registry: 'r.example', name: 'app' },
    method: 'GET',
    path: 'tags/list',
    headers: {},
    what: 'tags',
    signal: new AbortController().signal,
  } as const
  try {
    await expect(sender.send(request as never)).rejects.toMatchObject({ code: 'unreachable' })
  } finally {
    await registry.destroy()
  }
  return tries
}

test('a host to which no connection comes about in all its time is tried once', async () => {
  expect(await triesOf(5_000)).toBe(1)
})

test('one of whose addresses none answered within the moment that each gets is tried again', async () => {
  expect(await triesOf(260)).toBe(4)
})
