import { describe, expect, it } from 'vitest'
import { signName } from '../../../daemon/names/signed-name.ts'
import { MemoryNames, NameNode, named, newSigner, someDigest, statement } from '../../fixtures/names.ts'

const connected = async (count: number, options: Parameters<typeof NameNode.start>[0] = {}) => {
  const nodes = await Promise.all(Array.from({ length: count }, () => NameNode.start(options)))
  for (const [index, node] of nodes.entries()) nodes[index + 1]?.connect(node)
  return nodes as [NameNode, NameNode, NameNode]
}

const digests = (nodes: readonly NameNode[], ...name: [reference?: string, repository?: string]) =>
  nodes.map((node) => node.tag(...name))

describe('names in a closed swarm', () => {
  it('go from node to node, and stay when the one that pushed is gone', async () => {
    const [a, b, c] = await connected(3)
    await a.push('one')
    expect(digests([a, b, c])).toEqual([someDigest('one'), someDigest('one'), someDigest('one')])
    b.disconnect(a)
    const late = await NameNode.start()
    late.connect(c)
    expect(late.tag()).toBe(someDigest('one'))
  })

  it('are what was pushed last, whoever has pushed and whatever the clocks say', async () => {
    const day = 86_400_000
    const a = await NameNode.start({ now: () => Date.now() + day })
    const b = await NameNode.start({ now: () => Date.now() - day })
    a.connect(b)
    await a.push('one')
    await b.push('two')
    expect(digests([a, b])).toEqual([someDigest('two'), someDigest('two')])
    await a.push('one')
    expect(digests([a, b])).toEqual([someDigest('one'), someDigest('one')])
    await b.delete()
    expect(digests([a, b])).toEqual([undefined, undefined])
    expect(a.names.all('app')).toEqual([])
    await a.push('one')
    expect(digests([a, b])).toEqual([someDigest('one'), someDigest('one')])
  })

  it('that were pushed at once are in conflict: all nodes use the same, say so, and the next push settles it', async () => {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    await a.push('one')
    await b.push('two')
    const c = await NameNode.start()
    c.connect(a)
    c.connect(b)
    a.connect(b)
    const [used] = digests([a, b, c])
    expect(digests([a, b, c])).toEqual([used, used, used])
    for (const node of [a, b, c]) {
      expect(node.names.choose('app', '1').conflicts).toHaveLength(1)
      expect(node.names.status().conflicts).toMatchObject([{ name: 'app:1', used: { digest: used } }])
      expect(node.log.filter(({ text }) => text.includes('under one name'))).toHaveLength(1)
    }
    await b.push('two')
    expect(digests([a, b, c])).toEqual([someDigest('two'), someDigest('two'), someDigest('two')])
    expect(c.names.status().conflicts).toEqual([])
  })

  it('that were pushed at once and are the same are in no conflict', async () => {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    await a.push('one')
    await b.push('one')
    a.connect(b)
    expect(a.names.status()).toMatchObject({ names: 1, conflicts: [] })
  })

  it('are not passed on where they are not new', async () => {
    const [a, b, c] = await connected(3)
    a.connect(c)
    await a.push('one')
    const told = c.heard
    expect(told).toBeLessThanOrEqual(3)
    b.connect(c)
    await a.push('one')
    expect(a.names.own('app', '1')?.sequence).toBe(1)
  })

  it('survive a restart, with what others have said, and those that are deleted stay so', async () => {
    const disk = new MemoryNames()
    const [a, b] = [await NameNode.start(), await NameNode.start({ disk })]
    a.connect(b)
    await a.push('one')
    await a.push('two', '2')
    await a.delete('2')
    await b.push('mine', '3')
    const again = await NameNode.start({ disk, signer: b.options.signer })
    expect(digests([again], '1')).toEqual([someDigest('one')])
    expect([again.tag('2'), again.tag('3')]).toEqual([undefined, someDigest('mine')])
    // Somebody who was away during the deletion does not bring it back.
    const stale = signName(a.options.signer, statement({ reference: '2', sequence: 1, ...named('two') }))
    again.names.named(a.self, [stale])
    expect(again.tag('2')).toBeUndefined()
  })

  it('are newer than what a node has forgotten of its own', async () => {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    a.connect(b)
    for (const text of ['one', 'two', 'three']) await a.push(text)
    const again = await NameNode.start({ signer: a.options.signer })
    await again.push('four')
    again.connect(b)
    await expect.poll(() => b.tag()).toBe(someDigest('four'))
    expect(again.names.own('app', '1')?.sequence).toBe(4)
    // What it does not know at all is as it was.
    const empty = await NameNode.start({ signer: a.options.signer })
    empty.connect(b)
    await expect.poll(() => empty.tag()).toBe(someDigest('four'))
  })

  it.each<[string, (node: NameNode) => Promise<void>]>([
    ['replaced', async (node) => await node.push('two')],
    ['deleted', async (node) => await node.delete()],
  ])('that another node has %s do not come back where their pusher has lost its records', async (_, change) => {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    a.connect(b)
    await a.push('one')
    await change(b)
    const now = b.tag()
    const again = await NameNode.start({ signer: a.options.signer })
    again.connect(b)
    await expect.poll(() => again.names.own('app', '1')?.digest).toBe(someDigest('one'))
    expect(digests([again, b])).toEqual([now, now])
  })

  it.each<[string, (node: NameNode) => Promise<void>]>([
    ['push', async (node) => await node.push('two')],
    ['deletion', async (node) => await node.delete()],
  ])('are what their pusher said last, a %s, where its records come from a copy', async (_, change) => {
    const disk = new MemoryNames()
    const [a, b] = [await NameNode.start({ disk }), await NameNode.start()]
    a.connect(b)
    await a.push('one')
    const copy = new MemoryNames()
    await copy.changeNames([...disk.entries].map(([key, value]) => ({ key, value })))
    await change(a)
    const now = b.tag()
    const restored = await NameNode.start({ signer: a.options.signer, disk: copy })
    restored.connect(b)
    await expect.poll(() => restored.names.own('app', '1')?.sequence).toBe(2)
    const again = await NameNode.start({ signer: a.options.signer, disk: copy })
    expect(digests([restored, b, again])).toEqual([now, now, now])
  })

  it('are not fought over by two machines with one key', async () => {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    const copy = await NameNode.start({ signer: a.options.signer })
    for (const node of [a, copy]) node.connect(b)
    a.connect(copy)
    await a.push('one')
    await copy.push('two')
    // Each answers a few times at most; all that follows was said by then.
    await expect.poll(() => a.heard + copy.heard).toBeGreaterThan(2)
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(a.heard + b.heard + copy.heard).toBeLessThan(60)
  })

  it('count by rule only', async () => {
    const [a, c] = [await NameNode.start(), await NameNode.start()]
    const b = await NameNode.start({ publishers: [`${a.self}=team/**`, 'members=open'] })
    for (const node of [a, c]) {
      node.connect(b)
      await node.push(node.self, '1', 'team/app')
      await node.push(node.self, '1', 'app')
      await node.push(node.self, node.self, 'open')
    }
    expect(b.names.repositories().toSorted()).toEqual(['open', 'team/app'])
    expect(b.tag('1', 'team/app')).toBe(someDigest(a.self))
    expect([b.tag(a.self, 'open'), b.tag(c.self, 'open')]).toEqual([someDigest(a.self), someDigest(c.self)])
    const nobody = await NameNode.start({ publishers: ['nobody'] })
    nobody.connect(a)
    expect(nobody.names.repositories()).toEqual([])
    await nobody.push('own')
    expect(nobody.tag()).toBe(someDigest('own'))
    const listed = await NameNode.start({ allowedPeers: [c.self] })
    listed.connect(b)
    listed.connect(a)
    listed.connect(c)
    expect(listed.tag('1', 'team/app')).toBe(someDigest(c.self))
  })

  it('are not told where they are not offered', async () => {
    const [a, b] = [await NameNode.start({ isOffered: false }), await NameNode.start()]
    a.connect(b)
    await a.push('one')
    await b.push('hidden', '1', 'secret/app')
    await b.push('shown', '2')
    expect(digests([a, b])).toEqual([someDigest('one'), undefined])
    expect([a.tag('1', 'secret/app'), a.tag('2')]).toEqual([undefined, someDigest('shown')])
  })
})

describe('names in an open swarm', () => {
  const open = { isClosed: false }

  it('of somebody else are shown, and count once that peer is accepted', async () => {
    const [a, b] = await connected(2, open)
    await a.push('one')
    const { name, offers } = b.names.choose('app', '1')
    expect([name, offers.map(({ publisher }) => publisher)]).toEqual([undefined, [a.self]])
    expect(b.names.status().offers).toMatchObject([{ name: 'app:1', publisher: a.self }])
    expect(b.log.map(({ text }) => text)).toEqual([expect.stringContaining(`layerd trust ${a.self}`)])
    expect([...b.options.disk.entries.keys()]).toEqual([])
    await b.accept(a)
    expect(b.tag()).toBe(someDigest('one'))
    const again = await NameNode.start({ ...open, disk: b.options.disk, signer: b.options.signer })
    expect(again.tag()).toBe(someDigest('one'))
    await again.trust.remove(a.self)
    await again.names.untrusted(a.self)
    expect([again.tag(), again.names.choose('app', '1').offers.length]).toEqual([undefined, 1])
    expect([...again.options.disk.entries.keys()]).toEqual([])
  })

  it('reach others by those who have accepted the peer, also when it is gone', async () => {
    const [a, b, c] = await connected(3, open)
    await b.accept(a)
    await a.push('one')
    b.disconnect(a)
    // Nobody speaks for a stranger.
    expect(c.names.isNamedByOthers('app')).toBe(false)
    await c.accept(a)
    expect(c.tag()).toBe(someDigest('one'))
  })

  it('are those of whoever was first: this node itself, then the first of those who are accepted', async () => {
    const [a, b, c] = await connected(3, open)
    a.connect(c)
    await c.accept(a)
    await c.accept(b)
    await a.push('first')
    await b.push('second')
    await b.push('more', '2')
    await b.push('theirs', '1', 'other')
    expect([c.tag(), c.tag('2'), c.tag('1', 'other')]).toEqual([someDigest('first'), undefined, someDigest('theirs')])
    expect(c.names.status().conflicts).toMatchObject([{ name: 'app:1', others: [{ publisher: b.self }] }])
    await c.push('mine')
    expect(c.tag()).toBe(someDigest('mine'))
    // What somebody deletes is that one's own.
    await a.delete()
    await c.delete()
    expect([a.tag(), c.tag()]).toEqual([undefined, someDigest('second')])
  })

  it('in a repository of somebody else are shown, and the one that was accepted first is its owner', async () => {
    const [c, squatter, b] = [await NameNode.start(open), await NameNode.start(open), await NameNode.start(open)]
    c.connect(squatter)
    c.connect(b)
    await squatter.push('theirs')
    await b.push('ours')
    await b.push('ours too', '2')
    await squatter.push('theirs too', '3')
    await c.accept(b)
    await c.accept(squatter)
    // It was heard of first, and is accepted now.
    expect([c.tag(), c.tag('2'), c.tag('3')]).toEqual([someDigest('ours'), someDigest('ours too'), undefined])
    expect(c.names.choose('app', '3').passedOver).toMatchObject([{ publisher: squatter.self }])
    expect(c.names.status().passedOver).toMatchObject([{ name: 'app:3', publisher: squatter.self, owner: b.self }])
  })

  it('of a peer that is accepted are not put back by an older record while they are written', async () => {
    const [a, b] = await connected(2, open)
    for (const tag of ['1', '2', '3']) await a.push('one', tag)
    const accepting = b.accept(a)
    await a.push('two', '2')
    await a.push('two', '3')
    await accepting
    expect([b.tag('2'), b.tag('3')]).toEqual([someDigest('two'), someDigest('two')])
    const again = await NameNode.start({ ...open, disk: b.options.disk, signer: b.options.signer })
    expect([again.tag('2'), again.tag('3')]).toEqual([someDigest('two'), someDigest('two')])
  })

  it('of strangers are shown a few of each, with how many there are', async () => {
    const node = await NameNode.start(open)
    for (const name of ['a', 'b', 'colleague']) {
      const peer = await NameNode.start(open)
      node.connect(peer)
      for (let tag = 0; tag < (name === 'colleague' ? 1 : 50); tag++) await peer.push('x', `${tag}`, name)
    }
    const { offers } = node.names.status()
    expect(offers.map(({ name, more }) => [name.split(':')[0], more])).toEqual([
      ...['a', 'b'].flatMap((name) => [[name], [name], [name], [name], [name, 45]].map(([one, more]) => [one, more])),
      ['colleague', undefined],
    ])
  })

  it('of everybody count where the user says so', async () => {
    const [a, b] = [await NameNode.start(open), await NameNode.start({ ...open, publishers: ['anyone'] })]
    a.connect(b)
    await a.push('one')
    expect(b.tag()).toBe(someDigest('one'))
  })
})

describe('a peer that means harm', () => {
  it('can not speak for somebody else: a wrong signature is a fault', async () => {
    const [a, b] = await connected(2)
    await a.push('one')
    const evil = await newSigner()
    const forged = { ...signName(evil, statement({ sequence: 9, ...named('evil') })), publisher: a.self }
    expect(() => b.names.named(evil.self, [forged])).toThrow('the signature of app:1 is wrong')
    expect(() => a.names.named(evil.self, [forged])).toThrow('the signature of app:1 is wrong')
    expect(digests([a, b])).toEqual([someDigest('one'), someDigest('one')])
    await a.push('two')
    expect(b.tag()).toBe(someDigest('two'))
  })

  it('in an open swarm fills nothing with names, of its own or of others', async () => {
    const node = await NameNode.start({ isClosed: false })
    const friend = await NameNode.start({ isClosed: false })
    node.connect(friend)
    await node.accept(friend)
    await friend.push('one')
    for (let peer = 0; peer < 30; peer++) {
      const evil = await newSigner()
      const other = await newSigner()
      for (let tag = 0; tag < 60; tag++) {
        const said = statement({ reference: `${tag}`, repository: `r${peer}` })
        node.names.named(evil.self, [signName(evil, said), signName(other, said)])
      }
    }
    // What counts for nothing costs no disk, and a bounded part of memory.
    expect(node.options.disk.entries.size).toBe(2)
    expect(friend.heard).toBe(0)
    let known = 0
    for (let peer = 0; peer < 30; peer++) known += node.names.choose(`r${peer}`, '59').offers.length
    expect(known).toBeGreaterThan(0)
    expect(node.names.status().offers.length).toBeLessThanOrEqual(100)
    expect(node.tag()).toBe(someDigest('one'))
    expect(node.log.length).toBeLessThanOrEqual(30)
  })

  it('is taken, and passed on, only as often as one publisher may speak', async () => {
    const [node, peer] = await connected(2)
    const evil = await newSigner()
    const started = performance.now()
    for (let sequence = 1; sequence <= 2_500; sequence++)
      node.names.named(evil.self, [signName(evil, statement({ sequence, ...named(`${sequence}`) }))])
    const seconds = (performance.now() - started) / 1000
    expect(peer.heard).toBeGreaterThanOrEqual(2_000)
    expect(peer.heard).toBeLessThanOrEqual(2_001 + 2 * seconds)
    // Others are heard as before.
    await peer.push('one', '2')
    expect(node.tag('2')).toBe(someDigest('one'))
  })

  it('can not divide a swarm by high numbers: all nodes see the same, and whoever pushes is told whom to leave out', async () => {
    const [a, b] = await connected(2)
    const evil = await newSigner()
    const say = (node: NameNode, sequence: number) =>
      node.names.named(evil.self, [signName(evil, statement({ sequence, ...named(`${sequence}`) }))])
    for (const sequence of [2 ** 32, 2 ** 40]) say(a, sequence)
    await a.push('one')
    const late = await NameNode.start()
    late.connect(b)
    expect(digests([a, b, late])).toEqual([someDigest('one'), someDigest('one'), someDigest('one')])
    say(a, Number.MAX_SAFE_INTEGER)
    expect(digests([a, b, late]).every((digest) => digest === someDigest(`${Number.MAX_SAFE_INTEGER}`))).toBe(true)
    await expect(b.push('two')).rejects.toThrow(`app:1 can't be replaced: ${evil.self} has given it the highest number`)
    const free = await NameNode.start({ publishers: [a.self, b.self] })
    free.connect(b)
    await free.push('two')
    expect(free.tag()).toBe(someDigest('two'))
  })

  it('in an open swarm moves no number of anybody else', async () => {
    const [a, b] = await connected(2, { isClosed: false, publishers: ['anyone'] })
    const evil = await newSigner()
    b.names.named(evil.self, [signName(evil, statement({ sequence: Number.MAX_SAFE_INTEGER, ...named('evil') }))])
    await b.push('one')
    expect([b.tag(), b.names.own('app', '1')?.sequence]).toEqual([someDigest('one'), 1])
    expect(a.names.choose('app', '1').name?.digest).toBe(someDigest('one'))
  })

  it('speaks for itself alone where anyone counts, and for a bounded number of others elsewhere', async () => {
    const anyone = await NameNode.start({ isClosed: false, publishers: ['anyone'] })
    const evil = await newSigner()
    const made = await Promise.all(Array.from({ length: 50 }, newSigner))
    for (const other of made) anyone.names.named(evil.self, [signName(other, statement())])
    expect(anyone.names.repositories()).toEqual([])
    anyone.names.named(evil.self, [signName(evil, statement())])
    expect(anyone.names.publishers()).toEqual([evil.self])
  })
})

describe('a publisher with more names than peers keep', () => {
  /** Signing a thousand names takes a second on a slow core. */
  const many = 1_030

  it('is heard of by what it pushed last; it remembers that it has deleted what it has forgotten', async () => {
    const [a, b] = await connected(2)
    await a.push('latest', 'latest')
    for (let tag = 0; tag < many; tag++) await a.push(`${tag}`, `${tag}`)
    await a.push('new', 'latest')
    expect([b.tag('latest'), b.tag(`${many - 1}`), b.tag('0')]).toEqual([
      someDigest('new'),
      someDigest(`${many - 1}`),
      undefined,
    ])
    expect(a.tag('0')).toBe(someDigest('0'))
    expect(a.log.filter(({ text }) => text.startsWith('more images are pushed'))).toHaveLength(1)
    const told = b.heard
    for (const name of a.names.namesFor(b.self, a.self)) b.names.named(a.self, [name])
    expect([b.heard, b.tag('0')]).toEqual([told, undefined])
  })

  it('says anew that a name is gone which it has deleted long ago, and a peer that was away brings back', async () => {
    const disk = new MemoryNames()
    const [a, b] = [await NameNode.start({ disk }), await NameNode.start()]
    a.connect(b)
    await a.push('old', 'old')
    a.disconnect(b)
    await a.delete('old')
    for (let tag = 0; tag < many; tag++) {
      await a.push('x', `${tag}`)
      await a.delete(`${tag}`)
    }
    expect(a.names.own('app', 'old')).toBeUndefined()
    const again = await NameNode.start({ disk, signer: a.options.signer })
    again.connect(b)
    await expect.poll(() => b.tag('old')).toBeUndefined()
    expect([again.tag('old'), again.names.own('app', 'old')?.sequence]).toEqual([undefined, 2])
  })
})
