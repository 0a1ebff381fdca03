import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

interface Line {
  readonly msg: string
  readonly address?: string
}

/** A log, and what of it is about swarm keys. */
function logOf() {
  const lines: Line[] = []
  const log = pino({ level: 'info', base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const named = () => lines.filter(({ msg, address }) => address !== undefined && msg.includes('swarm.swarmKey'))
  return { log, named }
}

async function keyFile(): Promise<{ readonly swarmKey: string }> {
  const swarmKey = join(await swarm.folder(), 'swarm.key')
  await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString('hex')}\n`)
  return { swarmKey }
}

test.each([
  ['two keys', keyFile, keyFile],
  ['a key at the one that is dialled', keyFile, async () => ({})],
  ['a key at the one that dials', async () => ({}), keyFile],
])('%s: both sides name the key as the likely cause, once for an address', async (_, one, other) => {
  const [dialled, dialling] = [logOf(), logOf()]
  const a = await swarm.node({ log: dialled.log, config: await one() })
  const b = await swarm.node({ log: dialling.log, config: { ...(await other()), seeds: [a.address()] } })
  await until(() => dialled.named().length > 0 && dialling.named().length > 0)
  expect(dialling.named()[0]?.address).toBe(a.address())
  expect(dialled.named()[0]?.address).toBe('/ip4/127.0.0.1')
  await until(() => b.status().seeds[0]?.problem?.includes('swarm.swarmKey') === true)
  expect([dialled.named().length, dialling.named().length]).toEqual([1, 1])
})

test('nobody is suspected who has the right key, or who says nothing', async () => {
  const { log, named } = logOf()
  const config = await keyFile()
  const a = await swarm.node({ log, config })
  const port = Number(a.address().split('/').at(-1))
  for (let round = 0; round < 3; round++) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
  }
  const b = await swarm.node({ log, config: { ...config, seeds: [a.address()] } })
  await until(() => transferPeers(a) === 1 && transferPeers(b) === 1)
  await b.restart()
  await until(() => transferPeers(a) === 1 && transferPeers(b) === 1)
  expect(named()).toEqual([])
})

test('a p2p port in use is an error that says what to do', async () => {
  const a = await swarm.node()
  const port = a.address().split('/').at(-1)
  const { message } = await swarm.node({ config: { listen: `127.0.0.1:${port}` } }).then(
    () => new Error('it started'),
    (error: Error) => error,
  )
  expect(message).toBe(
    `swarm.listen: can't listen on 127.0.0.1:${port}: another program listens on port ${port}, perhaps another layerd ("ss -ltnp" shows which one): stop it, or choose another port with --p2p-listen`,
  )
})
