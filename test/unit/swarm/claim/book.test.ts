import { describe, expect, it } from 'vitest'
import { type ClaimAnswer, ClaimBook, type ClaimWish } from '../../../../daemon/swarm/claim/book.ts'
import {
  COMPLETE_MS,
  COMPLETED_MS,
  FIRST_TOLERANCE_MS,
  LEASE_MS,
  MAX_CLAIMS,
  MAX_CLAIMS_OF_PEER,
  MAX_MEMBERS,
  MAX_NAMED,
  MEMBER_MS,
  RACE_MS,
  RENEW_MS,
  TOLERANCE_MS,
} from '../../../../daemon/swarm/claim/constants.ts'

class Scene {
  readonly book = new ClaimBook(() => 0.5)
  now = 0

  ask(peer: string, wish: ClaimWish, held = 0): ClaimAnswer {
    return this.book.ask('blob', peer, { wish, held }, this.now)
  }

  role(peer: string, wish: ClaimWish, held = 0): ClaimAnswer['role'] {
    return this.ask(peer, wish, held).role
  }

  /** Time goes by, in which a holder renews its claim. */
  pass(ms: number, holder?: string, held = 0): void {
    const end = this.now + ms
    while (holder !== undefined && this.now + RENEW_MS < end) {
      this.now += RENEW_MS
      this.ask(holder, 'claim', held)
    }
    this.now = end
  }
}

describe('a claim', () => {
  it('is granted to the first that asks; others are told who holds it, and of each other', () => {
    const scene = new Scene()
    expect(scene.ask('a', 'if-nobody')).toEqual({ role: 'holder', holder: 'a', brought: 0, members: [] })
    expect(scene.ask('b', 'if-nobody')).toEqual({ role: 'none', holder: 'a', brought: 0, members: ['a'] })
    expect(scene.ask('a', 'claim', 3)).toEqual({ role: 'holder', holder: 'a', brought: 3, members: ['b'] })
    expect(scene.ask('c', 'nothing')).toEqual({ role: 'none', holder: 'a', brought: 3, members: ['a', 'b'] })
  })

  it('is for one content only', () => {
    const book = new ClaimBook()
    expect(book.ask('x', 'a', { wish: 'claim', held: 0 }, 0).role).toBe('holder')
    expect(book.ask('y', 'b', { wish: 'claim', held: 0 }, 0).role).toBe('holder')
  })

  it('is not granted to who wishes nothing, and is given back by who stops wishing', () => {
    const scene = new Scene()
    expect(scene.role('a', 'nothing')).toBe('none')
    expect(scene.role('a', 'claim')).toBe('holder')
    expect(scene.role('a', 'nothing')).toBe('none')
    expect(scene.role('b', 'claim')).toBe('holder')
  })

  it('is not needed where somebody has the content, unless that was of no use', () => {
    const scene = new Scene()
    scene.ask('a', 'done')
    expect(scene.ask('b', 'if-nobody')).toEqual({ role: 'none', holder: undefined, members: ['a'] })
    expect(scene.role('b', 'claim')).toBe('holder')
  })

  describe('that its holder has left when it had brought something', () => {
    /** `b` fetches the content, too; a newcomer has asked and was told to wait. */
    function abandoned(): Scene {
      const scene = new Scene()
      for (const peer of ['a', 'b']) scene.ask(peer, 'if-nobody')
      scene.ask('a', 'claim', 1)
      scene.book.left('a')
      expect(scene.ask('newcomer', 'if-nobody')).toEqual({ role: 'none', holder: undefined, members: ['b'] })
      return scene
    }

    it('goes to those who fetch the content already, until they are gone', () => {
      const scene = abandoned()
      expect(scene.role('b', 'starved')).toBe('holder')
      scene.book.left('b')
      expect(scene.role('newcomer', 'if-nobody')).toBe('holder')
    })

    it('goes to those also where it was another coordinator that knew of it', () => {
      const scene = new Scene()
      scene.ask('a', 'claim', 7)
      scene.ask('b', 'starved')
      scene.book.left('a')
      expect(scene.role('newcomer', 'if-nobody')).toBe('none')
    })

    it('goes to a newcomer who has waited in vain', () => {
      expect(abandoned().role('newcomer', 'starved')).toBe('holder')
    })
  })

  it('that its holder has left goes to the next one that asks, where nobody can have any of the content', () => {
    const scene = new Scene()
    scene.ask('a', 'if-nobody')
    scene.ask('a', 'nothing')
    expect(scene.role('b', 'if-nobody')).toBe('holder')
  })

  it('is not kept from the one that has the content itself no more', () => {
    const scene = new Scene()
    scene.ask('a', 'done')
    expect(scene.role('a', 'if-nobody')).toBe('holder')
  })

  it('is free when its holder is done, falls silent, or loses its connection', () => {
    const scene = new Scene()
    scene.ask('a', 'claim')
    scene.ask('a', 'done')
    expect(scene.role('b', 'claim')).toBe('holder')
    scene.pass(LEASE_MS)
    expect(scene.role('c', 'claim')).not.toBe('holder')
    scene.pass(1)
    expect(scene.role('c', 'claim')).toBe('holder')
    scene.book.left('c')
    expect(scene.role('d', 'claim')).toBe('holder')
  })

  describe('that was completed a moment ago', () => {
    const completed = () => {
      const scene = new Scene()
      scene.ask('a', 'claim')
      scene.ask('b', 'nothing')
      scene.ask('a', 'done')
      return scene
    }

    it('is not granted to who is only starved, for a while and once', () => {
      const scene = completed()
      expect(scene.role('b', 'starved')).toBe('none')
      scene.pass(COMPLETED_MS - 1)
      expect(scene.role('b', 'starved')).toBe('none')
      scene.pass(1)
      expect(scene.role('b', 'starved')).toBe('holder')
      scene.ask('b', 'done')
      expect(scene.role('c', 'starved')).toBe('holder')
    })

    it('is granted where who completed it is gone', () => {
      const scene = completed()
      scene.book.left('a')
      expect(scene.role('b', 'starved')).toBe('holder')
    })

    it('is not taken over by who races for it', () => {
      const scene = new Scene()
      scene.ask('a', 'claim')
      scene.ask('a', 'claim', 1)
      scene.pass(TOLERANCE_MS + 1)
      expect(scene.role('b', 'starved')).toBe('racer')
      scene.ask('a', 'done')
      expect(scene.role('b', 'claim')).toBe('none')
    })
  })

  it('is kept by asking again', () => {
    const scene = new Scene()
    scene.ask('a', 'claim')
    for (let held = 1; held < 20; held++) {
      scene.pass(RENEW_MS)
      expect(scene.role('a', 'claim', held)).toBe('holder')
      expect(scene.role('b', 'claim')).toBe('none')
    }
  })
})

describe('a race', () => {
  /** `a` holds the claim and has brought a chunk; then nothing for longer than is borne. */
  function stalled(): Scene {
    const scene = new Scene()
    scene.ask('a', 'claim')
    scene.pass(RENEW_MS)
    scene.ask('a', 'claim', 1)
    scene.pass(TOLERANCE_MS + 1, 'a', 1)
    return scene
  }

  it('is not begun before the first chunk could be there', () => {
    const scene = new Scene()
    scene.ask('a', 'claim')
    scene.pass(FIRST_TOLERANCE_MS, 'a')
    expect(scene.role('b', 'claim')).toBe('none')
    scene.pass(1)
    expect(scene.role('b', 'claim')).toBe('racer')
  })

  it('gives whoever takes a claim over that time as well', () => {
    const scene = stalled()
    scene.book.left('a')
    expect(scene.role('b', 'claim')).toBe('holder')
    scene.pass(FIRST_TOLERANCE_MS, 'b')
    expect(scene.role('c', 'claim')).toBe('none')
  })

  it('is run by one only, who must want the claim in any case', () => {
    const scene = stalled()
    expect(scene.role('b', 'nothing')).toBe('none')
    expect(scene.role('b', 'if-nobody')).toBe('none')
    expect(scene.role('b', 'claim')).toBe('racer')
    expect(scene.role('c', 'claim')).toBe('none')
    expect(scene.role('b', 'claim')).toBe('racer')
  })

  it('is won by who brings a chunk first', () => {
    const scene = stalled()
    scene.ask('b', 'claim', 5)
    expect(scene.role('b', 'claim', 6)).toBe('holder')
    expect(scene.ask('a', 'claim', 1)).toMatchObject({ role: 'none', holder: 'b' })
    scene.pass(2 * TOLERANCE_MS, 'b', 6)
    expect(scene.role('a', 'claim', 1)).toBe('none')
    scene.pass(1)
    expect(scene.role('a', 'claim', 1)).toBe('racer')
  })

  it('is begun as early as at first when chunks come fast again', () => {
    const scene = stalled()
    scene.ask('b', 'claim', 5)
    scene.ask('b', 'claim', 6)
    for (const held of [7, 9]) {
      scene.pass(RENEW_MS)
      scene.ask('b', 'claim', held)
    }
    scene.pass(TOLERANCE_MS, 'b', 9)
    expect(scene.role('a', 'claim')).toBe('none')
    scene.pass(1)
    expect(scene.role('a', 'claim')).toBe('racer')
  })

  it.each([TOLERANCE_MS + 1, 3 * TOLERANCE_MS])(
    'is lost when the holder brings one first, after %i ms: twice that is borne from then on',
    (took) => {
      const scene = stalled()
      expect(scene.role('b', 'claim')).toBe('racer')
      scene.pass(took - TOLERANCE_MS - 1, 'a', 1)
      expect(scene.role('a', 'claim', 2)).toBe('holder')
      expect(scene.role('b', 'claim')).toBe('none')
      scene.pass(2 * took, 'a', 2)
      expect(scene.role('b', 'claim')).toBe('none')
      scene.pass(1, 'a', 2)
      expect(scene.role('b', 'claim')).toBe('racer')
    },
  )

  it('goes to another one when the racer brings nothing, but later, as upstream may be slow for all', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    for (let ms = 0; ms < RACE_MS; ms += RENEW_MS) {
      scene.pass(RENEW_MS)
      scene.ask('a', 'claim', 1)
      scene.ask('b', 'claim')
    }
    scene.pass(RENEW_MS, 'a', 1)
    expect(scene.role('c', 'claim')).toBe('none')
    expect(scene.role('b', 'claim')).toBe('none')
    const since = scene.now - RENEW_MS
    scene.pass(2 * RACE_MS - since, 'a', 1)
    expect(scene.role('c', 'claim')).toBe('none')
    scene.pass(1, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('none')
    expect(scene.role('c', 'claim')).toBe('racer')
  })

  it('goes to another one at once when the racer is not heard of any more', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    scene.pass(LEASE_MS + 1, 'a', 1)
    expect(scene.role('c', 'claim')).toBe('racer')
  })

  it('may be tried once more by one that has rested', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    scene.pass(LEASE_MS + 1, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('none')
    scene.pass(TOLERANCE_MS + 1, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('none')
    scene.pass(RACE_MS - TOLERANCE_MS, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('racer')
  })

  it('does not keep who has won it, and wants nothing more, from the next one', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    expect(scene.role('b', 'nothing', 1)).toBe('none')
    expect(scene.role('b', 'claim', 1)).toBe('racer')
  })

  it('is not tried again before others, who may begin one now', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    for (let ms = 0; ms <= RACE_MS; ms += RENEW_MS) {
      scene.pass(RENEW_MS)
      scene.ask('a', 'claim', 1)
      scene.ask('b', 'claim')
    }
    // Twice as long is borne by now, and as long does it rest.
    scene.pass(RACE_MS + RENEW_MS, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('none')
    scene.pass(RACE_MS, 'a', 1)
    expect(scene.role('b', 'claim')).toBe('racer')
  })

  it.each<[string, (scene: Scene, peer: string) => void]>([
    ['wait for its end', () => {}],
    ['give it up', (scene, peer) => scene.ask(peer, 'nothing')],
    ['leave', (scene, peer) => scene.book.left(peer)],
  ])('is not kept from others by two that bring nothing, by turns, and %s', (_, end) => {
    const scene = stalled()
    const races = new Map<string, number>()
    let racer = ''
    let since = 0
    while (scene.now < 600_000) {
      scene.pass(RENEW_MS)
      scene.ask('a', 'claim', 1)
      if (racer.startsWith('bad') && scene.now - since > RACE_MS - 2 * RENEW_MS) end(scene, racer)
      for (const peer of ['bad one', 'bad other', 'good one', 'good other']) {
        if (scene.role(peer, 'claim') !== 'racer' || (peer === racer && scene.now - since < RACE_MS)) continue
        racer = peer
        since = scene.now
        races.set(peer, (races.get(peer) ?? 0) + 1)
      }
    }
    expect(Math.min(races.get('good one') ?? 0, races.get('good other') ?? 0)).toBeGreaterThan(4)
  })

  it('is over when the racer leaves, or wants nothing more', () => {
    const left = stalled()
    left.ask('b', 'claim')
    left.book.left('b')
    expect(left.role('c', 'claim')).toBe('racer')
    const sated = stalled()
    sated.ask('b', 'claim')
    expect(sated.role('b', 'nothing')).toBe('none')
    expect(sated.role('c', 'claim')).toBe('racer')
  })

  it('makes the racer the holder when that one has left', () => {
    const scene = stalled()
    scene.ask('b', 'claim')
    scene.book.left('a')
    expect(scene.role('b', 'claim')).toBe('holder')
  })
})

describe('members', () => {
  it('are forgotten when they do not ask again; those that have the content later', () => {
    const scene = new Scene()
    scene.ask('a', 'nothing')
    scene.ask('b', 'done')
    scene.pass(MEMBER_MS + 1)
    expect(scene.ask('c', 'nothing').members).toEqual(['b'])
    scene.pass(COMPLETE_MS)
    expect(scene.ask('d', 'nothing').members).toEqual([])
  })

  it('are forgotten when they leave, and with the last one the claim', () => {
    const scene = new Scene()
    scene.ask('a', 'claim')
    scene.ask('b', 'nothing')
    scene.book.left('b')
    expect(scene.ask('c', 'nothing').members).toEqual(['a'])
    scene.book.left('a')
    scene.book.left('c')
    expect(scene.book.size).toBe(0)
  })

  it('are named up to a number, the holder first', () => {
    const scene = new Scene()
    scene.ask('holder', 'claim')
    for (let index = 0; index < 2 * MAX_NAMED; index++) scene.ask(`peer ${index}`, 'nothing')
    const { members } = scene.ask('last', 'nothing')
    expect(members).toHaveLength(MAX_NAMED)
    expect(members[0]).toBe('holder')
    expect(new Set(members).size).toBe(MAX_NAMED)
  })

  it('are remembered up to a number, the newest ones', () => {
    const scene = new Scene()
    for (let index = 0; index <= MAX_MEMBERS; index++) scene.ask(`peer ${index}`, index === 1 ? 'claim' : 'nothing')
    scene.book.left('peer 0')
    expect(scene.role('peer 1', 'claim')).toBe('holder')
  })

  it('are drawn evenly, those who have it more often', () => {
    const book = new ClaimBook()
    const peers = Array.from({ length: 200 }, (_, index) => `${index}`)
    for (const [index, peer] of peers.entries()) {
      book.ask('blob', peer, { wish: index < 4 ? 'done' : 'nothing', held: 0 }, 0)
    }
    const named = new Map<string, number>()
    const questions = 2_000
    for (let asked = 0; asked < questions; asked++) {
      for (const peer of book.ask('blob', 'asker', { wish: 'nothing', held: 0 }, 0).members) {
        named.set(peer, (named.get(peer) ?? 0) + 1)
      }
    }
    const times = peers.map((peer) => (named.get(peer) ?? 0) / questions)
    expect(Math.min(...times.slice(0, 4))).toBeGreaterThan(0.4)
    expect(Math.min(...times.slice(4))).toBeGreaterThan(0.06)
    expect(Math.max(...times.slice(4))).toBeLessThan(0.18)
  })
})

describe('claims', () => {
  const wish = 'if-nobody'

  it('are remembered up to a number, the newest ones', () => {
    const book = new ClaimBook()
    for (let index = 0; index <= MAX_CLAIMS; index++) book.ask(`${index}`, `peer ${index}`, { wish, held: 0 }, 0)
    expect(book.size).toBe(MAX_CLAIMS)
    expect(book.ask('0', 'b', { wish, held: 0 }, 0).role).toBe('holder')
    expect(book.ask(`${MAX_CLAIMS}`, 'b', { wish, held: 0 }, 0).role).toBe('none')
  })

  it('of others stay, whatever one peer asks for', () => {
    const book = new ClaimBook()
    book.ask('blob', 'a', { wish, held: 0 }, 0)
    for (let index = 0; index < 2 * MAX_CLAIMS; index++) book.ask(`${index}`, 'greedy', { wish, held: 0 }, 1)
    expect(book.size).toBe(1 + MAX_CLAIMS_OF_PEER)
    expect(book.ask('blob', 'b', { wish, held: 0 }, 2)).toMatchObject({ role: 'none', holder: 'a' })
  })

  it('of those who ask for most go first, and of these the ones that nobody else wants', () => {
    const book = new ClaimBook()
    book.ask('blob', 'a', { wish, held: 0 }, 0)
    for (let peer = 0; peer < 6; peer++) {
      book.ask('shared', `greedy ${peer}`, { wish, held: 0 }, 1)
      for (let index = 0; index < MAX_CLAIMS_OF_PEER; index++) {
        book.ask(`${peer} ${index}`, `greedy ${peer}`, { wish, held: 0 }, 1)
        if (index % 100 === 0) book.ask('shared', `greedy ${peer}`, { wish, held: 0 }, 1)
      }
    }
    expect(book.size).toBe(MAX_CLAIMS)
    expect(book.ask('shared', 'b', { wish, held: 0 }, 2)).toMatchObject({ role: 'none', holder: 'greedy 0' })
    expect(book.ask('blob', 'b', { wish, held: 0 }, 2)).toMatchObject({ role: 'none', holder: 'a' })
  })

  it('that have expired go before all others', () => {
    const book = new ClaimBook()
    book.ask('old', 'a', { wish, held: 0 }, 0)
    const later = MEMBER_MS + 1
    for (let index = 0; index < MAX_CLAIMS; index++) book.ask(`${index}`, `peer ${index % 8}`, { wish, held: 0 }, later)
    expect(book.size).toBe(MAX_CLAIMS)
    expect(book.ask('0', 'b', { wish, held: 0 }, later)).toMatchObject({ role: 'none', holder: 'peer 0' })
  })
})
