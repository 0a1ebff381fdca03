import { expect, test } from 'vitest'
import { createLogger } from '../../../daemon/cli/logger.ts'

function capture(isTTY: boolean, level: 'info' | 'debug' = 'info') {
  const lines: string[] = []
  const logger = createLogger({ level }, { isTTY, write: (line) => lines.push(line) })
  return { lines, logger }
}

test('one line of JSON each, with time and level as text', () => {
  const { lines, logger } = capture(false)
  logger.info({ digest: 'sha256:ab', bytes: 3 }, 'request')
  logger.debug('not shown')
  expect(lines).toHaveLength(1)
  const line = JSON.parse(lines[0] ?? '')
  expect(line).toEqual({ level: 'info', time: expect.any(String), digest: 'sha256:ab', bytes: 3, msg: 'request' })
  expect(Date.parse(line.time)).toBeGreaterThan(0)
})

test('one readable line on a terminal', () => {
  const { lines, logger } = capture(true)
  logger.warn({ reference: 'a/b:c', note: 'two words', ms: 1.5 }, 'request')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}request reference=a\/b:c note="two words" ms=1.5\n$/)
})

test('a failure shows its stack on a terminal only where it is an error', () => {
  const { lines, logger } = capture(true)
  logger.error({ err: new Error('broken') }, 'failed')
  logger.info({ err: new Error('passing') }, 'retried')
  expect(lines[0]).toMatch(/ERROR failed err=broken\n {4}at /)
  expect(lines[1]).toMatch(/INFO {2}retried err=passing\n$/)
})

test.each([true, false])('credentials are not logged (terminal: %s)', (isTTY) => {
  const { lines, logger } = capture(isTTY)
  const headers = { authorization: 'Bearer hunter2', cookie: 'hunter2', accept: 'all' }
  logger.info({ authorization: 'hunter2', request: { authorization: 'hunter2' } })
  logger.info({ headers })
  logger.info({ req: { headers } })
  logger.info({ upstream: { request: { headers: { Authorization: 'Basic hunter2' } } } })
  expect(lines).toHaveLength(4)
  expect(lines.join('')).not.toContain('hunter2')
  expect(lines.join('')).toContain('all')
})
