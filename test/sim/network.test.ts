import { describe, expect, it } from 'vitest'
import { Line, Network } from './network.ts'

/** Bytes of a flow that never ends. */
const endless = 1e12

function rates(flows: readonly (readonly Line[])[]): number[] {
  const network = new Network(0)
  const started = flows.map((lines) => network.start(lines, endless, 0, () => undefined))
  network.step(network.nextAt(0))
  return started.map(({ rate }) => rate)
}

describe('the network of shared lines', () => {
  const wide = () => new Line(100)
  const flows = {
    uplink: () => {
      const from = new Line(12)
      return [1, 2, 3].map(() => [from, wide()] as const)
    },
    receiver: () => {
      const from = new Line(12)
      return [[from, new Line(2)] as const, [from, wide()] as const]
    },
    lines: () => {
      const [a, b, shared] = [new Line(10), new Line(10), new Line(6)]
      return [[a, shared] as const, [b, shared] as const, [b, wide()] as const]
    },
    between: () => {
      const [from, between] = [new Line(10), new Line(4)]
      return [
        [from, wide()],
        [from, wide(), between],
        [wide(), wide(), between],
      ]
    },
  }

  it.each([
    ['shares an uplink', flows.uplink, [4, 4, 4]],
    ['gives what a slow receiver leaves to others', flows.receiver, [2, 10]],
    ['is max-min fair over several lines', flows.lines, [3, 3, 7]],
    ['takes flows through a line between', flows.between, [8, 2, 2]],
  ])('%s', (_what, make, expected) => {
    expect(rates(make())).toEqual(expected)
  })

  it('gives a new flow what is free until all rates are computed anew', () => {
    const network = new Network(3)
    const from = new Line(10)
    const first = network.start([from, new Line(6)], endless, 0, () => undefined)
    const second = network.start([from, wide()], endless, 0, () => undefined)
    expect([first.rate, second.rate]).toEqual([6, 4])
    network.step(0)
    expect([first.rate, second.rate]).toEqual([5, 5])
  })

  it('tells of each piece when it is there', () => {
    const network = new Network(0)
    const pieces = [20, undefined]
    const at: number[] = []
    let now = 0
    network.start([new Line(10), new Line(5)], 10, 0, () => {
      at.push(now)
      return pieces.shift()
    })
    for (; network.nextAt(now) < Number.POSITIVE_INFINITY; network.step(now)) now = network.nextAt(now)
    expect(at).toEqual([2, 6])
  })
})
