import { expect, test } from 'vitest'
import { FuzzError, fuzz } from '../fuzz/run.ts'
import { targets } from '../fuzz/targets/all.ts'

/** The same inputs each time: `npm run fuzz` is for others. */
const seed = 1

test.each(targets)('$name takes whatever comes', async (target) => {
  const { inputs } = await fuzz(target, { seed, inputs: 2_000 })
  expect(inputs).toBe(2_000)
})

test('a parser that fails is found, with the input', async () => {
  const target = {
    name: 'faulty',
    corpus: [Buffer.from('good')],
    run: (bytes: Buffer) => {
      if (bytes.includes(0xff)) throw new TypeError('bad')
    },
  }
  await expect(fuzz(target, { seed, inputs: 2_000 })).rejects.toThrow(FuzzError)
  const stray = { ...target, run: (bytes: Buffer) => void (bytes.includes(0xff) && Promise.reject(new Error('stray'))) }
  await expect(fuzz(stray, { seed, inputs: 2_000 })).rejects.toThrow(FuzzError)
})
