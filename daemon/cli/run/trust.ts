import { z } from 'zod'
import { ControlClient } from '../control.ts'
import { Failure } from '../failure.ts'
import type { NodeFlags } from '../node-flags.ts'

const peer = z.object({ peerId: z.string(), fingerprint: z.string() })
const offer = z.object({
  name: z.string(),
  publisher: z.string(),
  fingerprint: z.string(),
  more: z.number().optional(),
})
const accepted = peer.extend({ isClosed: z.boolean(), names: z.array(z.string()) })
const list = z.object({
  self: peer,
  isClosed: z.boolean(),
  trusted: z.array(peer.extend({ since: z.number() })),
  offers: z.array(offer),
})

/** Accepts a peer, by its PeerId or its fingerprint. */
export async function trust(text: string, flags: NodeFlags): Promise<void> {
  await ask(flags, 'trust', { peer: text }, (answer) => acceptedText(read(accepted, answer)))
}

/** Shows whom this node accepts, and what others offer. */
export async function listTrust(flags: NodeFlags): Promise<void> {
  await ask(flags, 'trust-list', {}, (answer) => listText(read(list, answer)))
}

/** Takes it back. */
export async function untrust(text: string, flags: NodeFlags): Promise<void> {
  await ask(flags, 'untrust', { peer: text }, (answer) => {
    const { peerId, fingerprint } = read(peer, answer)
    return `${peerId} (${fingerprint}) is not accepted any more\n`
  })
}

async function ask(flags: NodeFlags, operation: string, input: object, show: (answer: unknown) => string) {
  const answer = await ControlClient.use(flags, (node) => node.ask({ operation, input }))
  process.stdout.write(flags.json === true ? `${JSON.stringify(answer, null, 2)}\n` : show(answer))
}

function read<Schema extends z.ZodType>(schema: Schema, answer: unknown): z.output<Schema> {
  const result = schema.safeParse(answer)
  if (result.success) return result.data
  throw new Failure('the node answers in a form that this version does not know; try --json')
}

function acceptedText({ peerId, fingerprint, isClosed, names }: z.output<typeof accepted>): string {
  const offered = names.length === 0 ? 'nothing yet' : names.join(', ')
  const note = isClosed ? 'this swarm is closed to strangers: its members count without that\n' : ''
  return `${peerId} (${fingerprint}) is accepted; it has pushed: ${offered}\n${note}`
}

function listText({ self, isClosed, trusted, offers }: z.output<typeof list>): string {
  const lines = [`this node  ${self.fingerprint}  ${self.peerId}`]
  if (isClosed) lines.push('this swarm is closed to strangers: its members count without being accepted')
  lines.push(trusted.length === 0 ? 'accepted   nobody' : 'accepted')
  for (const { peerId, fingerprint, since } of trusted)
    lines.push(`  ${fingerprint}  ${peerId}  since ${new Date(since).toISOString()}`)
  if (offers.length > 0) lines.push('offered by others, and not pulled until they are accepted')
  for (const { name, publisher, fingerprint, more = 0 } of offers)
    lines.push(`  ${fingerprint}  ${publisher}  ${name}${more === 0 ? '' : ` and ${more} more`}`)
  return `${lines.join('\n')}\n`
}
