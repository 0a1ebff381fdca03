import { once } from 'node:events'
import { expect, test } from 'vitest'
import { Brake } from '../../../../daemon/swarm/limits/brake.ts'

/** Something that is read from, with data that waits while it is paused. */
function scene() {
  const state = { pauseMs: 0, mustWait: false, isOpen: true, isPaused: false, throws: false, resumed: 0 }
  const events = new EventTarget()
  let waiting = 0
  const read = () => brake.check()
  const turns: (() => void)[] = []
  const limits = {
    pauseMs: () => state.pauseMs,
    mustWait: () => state.mustWait,
    wait: (_: string, go: () => void) => void turns.push(go),
  }
  const brake: Brake = new Brake(limits, 'a', {
    pause: () => {
      state.isPaused = true
    },
    resume: () => {
      state.isPaused = false
      state.resumed++
      // As libp2p does: what waits is given within the call, and then reading goes on, whatever was said meanwhile.
      for (; waiting > 0; waiting--) read()
      state.isPaused = false
      queueMicrotask(() => events.dispatchEvent(new Event('resumed')))
      if (state.throws) throw new Error('it is closed')
    },
    isOpen: () => state.isOpen,
  })
  return { state, read, turn: () => turns.shift()?.(), wait: () => waiting++, resumed: () => once(events, 'resumed') }
}

test('a peer that has something left is read from, and another one when it has again', async () => {
  const { state, read, resumed } = scene()
  read()
  expect(state.isPaused).toBe(false)
  state.pauseMs = 1
  read()
  expect(state.isPaused).toBe(true)
  state.pauseMs = 0
  await resumed()
  expect(state).toMatchObject({ isPaused: false, resumed: 1 })
})

test('what waited and costs too much as well stops it anew', async () => {
  const { state, read, wait, resumed } = scene()
  state.pauseMs = 1
  read()
  wait()
  await resumed()
  expect(state).toMatchObject({ isPaused: true, resumed: 1 })
  state.pauseMs = 0
  await resumed()
  expect(state).toMatchObject({ isPaused: false, resumed: 2 })
})

test('one that takes much is read from in its turn, and then looked at anew', async () => {
  const { state, read, wait, turn } = scene()
  state.mustWait = true
  read()
  expect(state).toMatchObject({ isPaused: true, resumed: 0 })
  wait()
  turn()
  expect(state).toMatchObject({ isPaused: true, resumed: 1 })
  state.mustWait = false
  turn()
  expect(state).toMatchObject({ isPaused: false, resumed: 2 })
})

test('one that has ended is left alone, and an error of its end is no matter', async () => {
  const { state, read, resumed } = scene()
  state.pauseMs = 1
  state.throws = true
  read()
  state.pauseMs = 0
  await resumed()
  expect(state).toMatchObject({ isPaused: false, resumed: 1 })
  state.pauseMs = 1
  state.isOpen = false
  read()
  expect(state.isPaused).toBe(false)
})
