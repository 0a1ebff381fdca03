import { beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { cable, Machine, peersOf } from '../fixtures/machines.ts'
import { until } from '../fixtures/node.ts'

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

/** Two machines on a cable, where nobody gives out addresses. */
async function onCable(...addresses: readonly (readonly string[])[]): Promise<[Machine, Machine]> {
  const [a, b] = (await Promise.all([1, 2].map(() => Machine.start()))) as [Machine, Machine]
  await cable(a, 'enp0s1', b, 'enp0s2')
  for (const [index, machine] of [a, b].entries()) {
    const name = `enp0s${index + 1}`
    await machine.ip(
      ...(addresses[index] ?? []).map((address) => `addr add ${address} dev ${name}`),
      `link set ${name} up`,
    )
  }
  return [a, b]
}

async function share(a: Machine, b: Machine) {
  const blob = pseudoRandomBytes(600_000, 'cable')
  await a.serve(80, `/v2/team/app/blobs/${digestOf(blob)}`, blob)
  const first = await a.node(['--registry', 'docker.io=http://127.0.0.1:80'])
  const second = await b.node(['--registry', 'docker.io=http://127.0.0.1:1'])
  for (const node of [first, second]) await until(async () => (await peersOf(node)) === 1, 60_000)
  for (const machine of [a, b]) {
    const { digest } = await machine.get(`http://127.0.0.1:5050/v2/docker.io/team/app/blobs/${digestOf(blob)}`)
    expect(digest).toBe(digestOf(blob))
  }
}

it('two machines on a cable without DHCP meet and share by link-local addresses of IPv4', async () => {
  await share(...(await onCable(['169.254.10.1/16 scope link'], ['169.254.20.2/16 scope link'])))
})
