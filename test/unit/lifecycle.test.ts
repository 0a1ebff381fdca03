import { expect, it } from 'vitest'
import { Lifecycle } from '../../daemon/lifecycle.ts'

it('stops in the opposite order, all of it, once, and says what failed', async () => {
  const lifecycle = new Lifecycle()
  const stopped: string[] = []
  lifecycle.onStop(() => stopped.push('store'))
  lifecycle.onStop(() => Promise.reject(new Error('the swarm hangs')))
  lifecycle.inBackground(
    async (signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      stopped.push('background')
      throw new Error('the work failed')
    },
    (error) => stopped.push(String(error)),
  )
  lifecycle.onStop(() => stopped.push('servers'))
  expect(lifecycle.isStopping).toBe(false)
  const first = lifecycle.stop()
  expect(lifecycle.isStopping).toBe(true)
  await expect(first).rejects.toThrow(/the swarm hangs/)
  await expect(lifecycle.stop()).rejects.toThrow(/the swarm hangs/)
  expect(stopped).toEqual(['servers', 'background', 'Error: the work failed', 'store'])
})
