import { describe, expect, it } from 'vitest'
import type { Ask } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { all, ask, CHUNKS, LAST, news, Scene } from './scene.ts'

describe('places', () => {
  it('are one for a node that has nothing, and one more for each chunk', () => {
    const scene = new Scene()
    expect(['p', 'q', 'r'].map((peer) => scene.meet(peer, all).length > 0 && scene.asked)).toEqual([['p'], [], []])
    scene.bring('p', 1, 0)
    expect(scene.asked).toHaveLength(2)
  })

  it.each([
    [8, 4],
    [2, 2],
  ])('are %i at most, and %i with that many neighbours', (peers, questions) => {
    const scene = new Scene([60, 61, 62, 63])
    const asked = Array.from({ length: peers }, (_, index) => scene.meet(`p${index}`, all) && scene.asked)
    expect(asked.flat()).toHaveLength(questions)
  })

  it('are sending places as well: whoever finds none free is told so', () => {
    const scene = new Scene(all)
    for (const peer of ['p', 'q', 'r', 's', 't']) scene.meet(peer, [])
    const answers = ['p', 'q', 'r', 's', 't'].map((peer) => scene.hear(peer, ask(1)) && scene.served.length)
    expect(answers).toEqual([1, 1, 1, 1, 0])
    expect(scene.sent('busy', 't')).toHaveLength(1)
  })

  it('are one more to send than to receive at first, so that the first chunk spreads as a tree', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.quarters('p', 1, 0, 0)
    for (const peer of ['q', 'r', 's']) scene.meet(peer, [])
    const answers = ['q', 'r', 's'].map((peer) => scene.hear(peer, ask(1)) && scene.served.length)
    expect(answers).toEqual([1, 1, 0])
  })

  it('that become free are told first to whoever was refused', () => {
    const scene = new Scene(all)
    for (const peer of ['p', 'q', 'r', 's', 't', 'u']) scene.meet(peer, [])
    for (const peer of ['p', 'q', 'r', 's', 't']) scene.hear(peer, ask(1))
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.sent('news', 't').map(({ news: { free } }) => free)).toEqual([1])
    expect(scene.sent('news', 'u')).toEqual([])
  })

  it('are shared by all blobs of a node', () => {
    const scene = new Scene([60, 61, 62, 63], {}, { b: CHUNKS, c: CHUNKS })
    const asked = Array.from({ length: 8 }, (_, index) => {
      const blob = index % 2 === 0 ? 'b' : 'c'
      const log = all.map((chunk) => ~chunk)
      return scene.hear(`p${index}`, { kind: 'news', news: { free: 4, blobs: [{ blob, log }] } }) && scene.asked
    })
    expect(asked.flat()).toHaveLength(4)
  })
})

describe('a question', () => {
  it.each([
    ['has no free place', all, 0],
    ['has nothing', [], 4],
    ['has nothing that is lacking', [60, 61], 4],
  ])('is not for a neighbour that %s', (_what, chunks, free) => {
    const scene = new Scene([60, 61])
    scene.meet('p', chunks, free)
    expect(scene.asked).toEqual([])
  })

  it('is not for what lies beyond the window', () => {
    const scene = new Scene([], { windowChunks: 8 })
    scene.meet('p', [8])
    expect(scene.asked).toEqual([])
    scene.meet('p', [7])
    expect(scene.asked).toEqual(['p'])
  })

  it('is not repeated to a neighbour that has said none, until it has news', () => {
    const scene = new Scene()
    scene.meet('p', [3])
    scene.hear('p', { kind: 'none', id: 1, news: news([], 4) })
    expect(scene.asked).toEqual([])
    scene.meet('p', [4])
    expect(scene.asked).toEqual(['p'])
  })

  it('says what is on its way, and names no chunk', () => {
    const scene = new Scene([60])
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.meet('q', all)
    expect(scene.sent('ask', 'q')[0]?.wishes).toEqual([
      { blob: 'b', first: 0, coming: [5], late: [], broken: new Map() },
    ])
  })

  it('asks for the oldest chunk once much is held beyond a gap, one question at a time', () => {
    const scene = new Scene(all.slice(10, 30))
    scene.meet('p', all)
    const first = scene.sent('ask')
    scene.meet('q', all)
    expect([...first, ...scene.sent('ask')].map(({ oldest }) => oldest)).toEqual([{ blob: 'b', from: 0 }, undefined])
  })

  it('is asked again where two senders chose the same chunk', () => {
    const scene = new Scene([60])
    scene.meet('p', all)
    scene.meet('q', all)
    scene.head('p', 1, 5)
    scene.head('q', 2, 5)
    expect(scene.sent('leave', 'q')).toEqual([{ kind: 'leave', id: 2 }])
    expect(scene.asked).toEqual(['q'])
  })
})

describe("the sender's choice", () => {
  const choice = (scene: Scene, question: Ask) => scene.hear('p', question) && scene.served[0]?.split(' ')[0]

  it.each([
    ['the fewest copies', [0, 1, 2, 4], {}, '3'],
    ['nothing that comes already', [0, 1, 2, 4], { coming: [3] }, '5'],
    ['what comes late after everything else', [0, 1, 2, 4], { late: [3] }, '5'],
    ['the oldest of equals', all, {}, '0'],
    ['nothing before the window', all, { first: 9 }, '9'],
  ])('is %s', (_what, elsewhere, wish, expected) => {
    const scene = new Scene(all)
    scene.meet('p', [])
    scene.meet('q', elsewhere)
    expect(choice(scene, ask(1, wish))).toBe(expected)
  })

  it('is the oldest, however many copies there are, where that is asked for', () => {
    const scene = new Scene(all)
    scene.meet('p', [])
    scene.meet('q', [0, 1])
    expect(choice(scene, ask(1, {}, { oldest: { blob: 'b', from: 0 } }))).toBe('0')
  })

  it('counts its own sends: a new chunk goes out once before any goes out twice', () => {
    const scene = new Scene([0, 1, 2])
    const peers = ['p', 'q', 'r', 's']
    for (const peer of peers) scene.meet(peer, [])
    expect(peers.map((peer) => scene.hear(peer, ask(1)) && scene.served[0])).toEqual([
      '0 to p',
      '1 to q',
      '2 to r',
      '0 to s',
    ])
  })

  it('does not count a send that is late', () => {
    const scene = new Scene([0, 1])
    for (const peer of ['p', 'q', 'r']) scene.meet(peer, [])
    scene.hear('p', ask(1))
    scene.hear('q', ask(1))
    scene.step({ kind: 'sent', to: 'q', id: 1 })
    scene.bytesAt = 600
    scene.at(600)
    expect(scene.hear('r', ask(1)) && scene.served).toEqual(['0 to r'])
  })

  it('may be a chunk that is held in part, from the part that the asker lacks', () => {
    const scene = new Scene()
    scene.meet('p', [])
    scene.meet('q', [7])
    scene.head('q', 1, 7)
    scene.quarters('q', 1, 0, 1)
    const broken = (parts: number) => scene.hear('p', ask(1, { broken: new Map([[7, parts]]) }))
    broken(2)
    expect(scene.sent('none', 'p')).toHaveLength(1)
    broken(1)
    expect(scene.effects).toContainEqual({ kind: 'serve', to: 'p', id: 1, blob: 'b', chunk: 7, quarter: 1 })
  })

  it('is made when the line is free for it', () => {
    const scene = new Scene([0, 1])
    scene.meet('p', [])
    scene.hear('p', ask(1))
    scene.hear('p', ask(2, { coming: [0] }))
    expect(scene.served).toEqual([])
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.served).toEqual(['1 to p'])
  })
})

describe('a pair', () => {
  it('stays together: the next question comes when the last part begins', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.head('p', 1, 0)
    scene.quarters('p', 1, 0, LAST - 2)
    expect(scene.asked).toEqual([])
    scene.quarters('p', 1, LAST - 1, LAST - 1)
    expect(scene.asked).toEqual(['p'])
  })

  it('parts after its stay', () => {
    // Drawn from half of it on: two chunks here.
    const scene = new Scene([60], { stayChunks: 4, places: 1 })
    scene.meet('p', all)
    const asksAhead = [1, 2, 3, 4].map((id) => {
      scene.head('p', id, id)
      scene.quarters('p', id, 0, LAST - 1)
      const isAhead = scene.asked.length > 0
      scene.quarters('p', id, LAST, LAST)
      return isAhead
    })
    expect(asksAhead).toEqual([true, false, true, false])
  })

  it('ends when its chunk came from elsewhere', () => {
    const scene = new Scene([60])
    scene.meet('p', all)
    scene.meet('q', all)
    scene.head('p', 1, 5)
    scene.bytesAt = 500
    scene.at(500)
    scene.bring('q', 2, 5)
    expect(scene.sent('leave', 'p')).toContainEqual({ kind: 'leave', id: 1 })
  })
})

describe('news', () => {
  it('goes to a neighbour at most once in the interval, and has all that is new', () => {
    const scene = new Scene()
    scene.meet('q', [])
    scene.meet('p', all)
    const told = () => scene.sent('news', 'q').flatMap(({ news: { blobs } }) => blobs)
    scene.head('p', 1, 0)
    scene.quarters('p', 1, 0, 0)
    // The first one is told at once: what was said before told of no chunk.
    expect(told()).toEqual([{ blob: 'b', log: [0] }])
    scene.quarters('p', 1, 1)
    scene.at(99)
    expect(told()).toEqual([])
    scene.at(112)
    expect(told()).toEqual([{ blob: 'b', log: [~0] }])
  })

  it('does not go to a neighbour that lacks nothing', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.bring('p', 1, 0)
    scene.at(1_000)
    expect(scene.sent('news', 'p')).toEqual([])
  })

  it('rides on questions and answers', () => {
    const scene = new Scene([60])
    scene.meet('p', all)
    scene.bring('p', 1, 0)
    const told = scene.sent('ask', 'p').flatMap(({ news: { blobs } }) => blobs.flatMap(({ log }) => log))
    expect(told).toEqual([0])
  })

  it('is answered with all that is held by whoever hears of a neighbour for the first time', () => {
    const scene = new Scene([3])
    scene.meet('p', [])
    expect(scene.sent('news', 'p')[0]?.news.blobs).toEqual([{ blob: 'b', log: [~3] }])
  })

  it('is refused by a node with neighbours enough, and about a blob that it does not have', () => {
    const scene = new Scene([], { mostNeighbours: 1 })
    scene.meet('p', [])
    scene.meet('q', [])
    expect(scene.sent('bye', 'q')).toEqual([{ kind: 'bye', blob: 'b' }])
    scene.hear('p', { kind: 'news', news: { free: 4, blobs: [{ blob: 'x', log: [] }] } })
    expect(scene.sent('bye', 'p')).toEqual([{ kind: 'bye', blob: 'x' }])
  })
})

describe('lateness', () => {
  it('makes a chunk wanted again, without ending its pair as long as bytes come', () => {
    const scene = new Scene([60])
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.bytesAt = 499
    scene.at(500)
    expect(scene.sent('leave', 'p')).toEqual([])
    scene.meet('q', all)
    expect(scene.sent('ask', 'q')[0]?.wishes[0]).toMatchObject({ coming: [], late: [5] })
  })

  it('ends a pair without a byte, and its sender rests, twice as long each time', () => {
    const scene = new Scene()
    scene.meet('p', all)
    const askedAt = [0]
    for (let ms = 1; ms < 8_000; ms++) {
      // It says again and again that it has everything.
      scene.at(ms)
      if (scene.asked.length === 0 && ms % 10 === 0) scene.meet('p', all)
      if (scene.asked.length > 0) askedAt.push(ms)
    }
    expect(askedAt).toEqual([0, 1_000, 2_500, 5_000])
  })

  it('follows what chunks take here', () => {
    const scene = new Scene([], { places: 1 })
    scene.meet('p', all)
    for (const [index, took] of [400, 1_000, 1_500, ...Array.from({ length: 30 }, () => 2_000)].entries()) {
      scene.now += took
      scene.bytesAt = scene.now
      scene.bring('p', index + 1, index)
    }
    scene.head('p', 34, 40)
    scene.meet('q', all)
    scene.at(scene.now + 1_900)
    expect(scene.asked).toEqual([])
    scene.bytesAt = scene.now
    scene.at(scene.now + 1_000)
    expect(scene.asked).toContain('q')
  })
})

describe('a sender that leaves parts out', () => {
  it('has brought nothing, and the chunk is asked of others', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.step({ kind: 'quarter', from: 'p', id: 1, quarter: LAST })
    expect(scene.plan.partsOf('b', 5)).toBe(0)
    expect(scene.sent('leave', 'p')).toContainEqual({ kind: 'leave', id: 1 })
  })
})

describe('a neighbour that has said nothing for long', () => {
  it('is asked although it had no place, as it may have left in silence', () => {
    const scene = new Scene()
    scene.meet('p', all, 0)
    scene.at(NUMBERS.headLateMs - 1)
    expect(scene.asked).toEqual([])
    scene.at(NUMBERS.headLateMs)
    expect(scene.asked).toEqual(['p'])
  })
})

describe('whoever has left', () => {
  it('is asked for nothing, and what it was bringing is asked of others from the part that is lacking', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.meet('q', all)
    scene.head('p', 1, 5)
    scene.quarters('p', 1, 0, 1)
    scene.step({ kind: 'left', peer: 'p' })
    expect(scene.sent('ask', 'q')[0]?.wishes[0]?.broken).toEqual(new Map([[5, 2]]))
  })

  it('takes its copies along', () => {
    const scene = new Scene(all)
    scene.meet('p', [0])
    scene.meet('q', [])
    scene.step({ kind: 'left', peer: 'p' })
    scene.hear('q', ask(1))
    expect(scene.served).toEqual(['0 to q'])
  })

  it('is cut off for those who wait for the rest of its chunk here', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.meet('q', [])
    scene.head('p', 1, 5)
    scene.quarters('p', 1, 0, 1)
    scene.hear('q', ask(9))
    scene.step({ kind: 'left', peer: 'p' })
    expect(scene.sent('cut', 'q')).toEqual([{ kind: 'cut', id: 9 }])
  })
})

describe('upstream', () => {
  it('is asked for by all blobs of an image in one message', () => {
    const scene = new Scene([], {}, { b: 4, c: 4 })
    expect(scene.wants).toEqual([
      { blob: 'b', brought: 0, wish: 'part', sought: NUMBERS.soughtNeighbours },
      { blob: 'c', brought: 0, wish: 'part', sought: NUMBERS.soughtNeighbours },
    ])
  })

  it('is read in order by the head, but for what a neighbour has', () => {
    const scene = new Scene([1])
    scene.meet('p', [2, 3], 0)
    expect(scene.turn('head') && scene.reads).toEqual([0])
    expect(scene.read(0)).toEqual([4])
    expect(scene.read(4)).toEqual([5])
  })

  it('is read for one chunk in a race, and no further when the turn is over', () => {
    const racer = new Scene()
    expect(racer.turn('racer') && racer.reads).toEqual([0])
    expect(racer.read(0)).toEqual([])
    const head = new Scene()
    head.turn('head')
    expect(head.turn('none')).toContainEqual({ kind: 'unread', blob: 'b' })
  })

  it('takes places, so that many blobs are not read at once', () => {
    const blobs = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`b${index}`, 4]))
    const scene = new Scene([], {}, blobs)
    const reads = Object.keys(blobs).flatMap((blob) => {
      scene.step({ kind: 'turn', turn: { blob, role: 'head', head: 'me', brought: 0, members: [] } })
      return scene.reads
    })
    expect(reads).toHaveLength(NUMBERS.places)
  })

  it('is read without a turn where nothing new comes, whatever the coordinator says', () => {
    const scene = new Scene([], NUMBERS)
    scene.turn('none', 4)
    scene.turn('none', 400)
    expect(scene.at(NUMBERS.patienceMs - 1) && scene.reads).toEqual([])
    expect(scene.at(NUMBERS.patienceMs) && scene.reads).toEqual([0])
  })

  it('is left to the head as long as that goes on, as can be seen', () => {
    const scene = new Scene([], NUMBERS)
    for (let brought = 1; brought <= NUMBERS.quarters; brought++) {
      scene.now = brought * (NUMBERS.patienceMs - 1)
      scene.turn('none', brought)
      expect(scene.reads).toEqual([])
    }
    scene.now += NUMBERS.patienceMs
    scene.turn('none', NUMBERS.quarters + 1)
    expect(scene.reads).toEqual([0])
  })

  it('is not waited for because of what a staller says that it has', () => {
    const scene = new Scene()
    scene.meet('p', all)
    expect(scene.turn('head') && scene.reads).toEqual([])
    scene.at(500)
    expect(scene.reads).toEqual([0])
  })

  it('is told to the coordinator as hungry where nothing new comes, and as done', () => {
    const scene = new Scene([], {}, { b: 1 })
    scene.at(NUMBERS.headLateMs)
    expect(scene.wants.map(({ wish }) => wish)).toEqual(['hungry'])
    scene.meet('p', [0])
    scene.bring('p', 1, 0)
    // The neighbour that has it has told the coordinator.
    expect(scene.wants).toEqual([])
    scene.at(scene.now + NUMBERS.newsMs)
    expect(scene.wants.map(({ wish }) => wish)).toEqual(['done'])
  })

  it('is not asked again where it has refused', () => {
    const scene = new Scene()
    scene.turn('head')
    scene.step({ kind: 'unreadable', blob: 'b' })
    expect(scene.wants.map(({ wish }) => wish)).toEqual(['unable'])
    scene.at(60_000)
    expect(scene.reads).toEqual([])
  })
})
