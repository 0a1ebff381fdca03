import { once } from 'node:events'
import { copyFile, mkdir } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const readiness = async ({ addresses }: TestNode) => await (await fetch(`http://${addresses.admin}/readyz`)).text()
const errors = ({ log }: TestNode) => log.filter(({ level }) => level === 50)

/** The same machine: its id does not tell the two apart. */
async function cloneOf(node: TestNode): Promise<string> {
  const dataDir = join(await tempDir(), 'clone')
  await mkdir(dataDir)
  await copyFile(join(node.dataDir, 'key'), join(dataDir, 'key'))
  return dataDir
}

it('says where another node has the same identity: in log, status and readiness of both', async () => {
  const original = await startTestNode()
  const clone = await startTestNode({ dataDir: await cloneOf(original), seeds: [original] })
  expect((await clone.status()).peerId).toBe((await original.status()).peerId)
  for (const node of [original, clone]) {
    await until(async () => (await node.status()).problems.length > 0)
    const [problem] = (await node.status()).problems
    expect(problem).toMatchObject({
      kind: 'identity',
      text: expect.stringContaining('has the same identity as this one'),
    })
    expect(problem?.text).toContain(`remove ${join(node.dataDir, 'key')} there`)
    expect(await readiness(node)).toBe(`${problem?.text}\n`)
    expect(errors(node)).toEqual([expect.objectContaining({ msg: problem?.text })])
  }
})

it('does not take an address that leads back to the node itself for another one', async () => {
  const first = await startTestNode()
  const [own = ''] = (await first.status()).multiaddrs
  await first.stop()
  const port = Number(/tcp\/(\d+)/.exec(own)?.[1])
  let connections = 0
  const sockets = new Set<Socket>()
  const forwarder = createServer((socket) => {
    connections++
    const onward = connect(port, '127.0.0.1')
    for (const one of [socket, onward]) sockets.add(one.on('error', () => {}))
    socket.once('close', () => onward.destroy())
    onward.once('close', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(forwarder, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    forwarder.close()
  })
  const { port: seed } = forwarder.address() as { port: number }
  const listen = `127.0.0.1:${port}`
  const node = await startTestNode({ config: { swarm: { listen, seeds: [`127.0.0.1:${seed}`] } } })
  await until(() => connections >= 3)
  expect((await node.status()).problems.filter(({ kind }) => kind === 'identity')).toEqual([])
  expect(errors(node)).toEqual([])
})
