import { Command } from 'commander'
import { z } from 'zod'
import { addNodeFlags, ControlClient, type NodeFlags } from './control.ts'
import { Failure } from './failure.ts'

interface TrustFlags extends NodeFlags {
  readonly list?: true
}

const peer = z.object({ peerId: z.string(), fingerprint: z.string() })
const offer = z.object({ name: z.string(), publisher: z.string(), fingerprint: z.string() })
const accepted = peer.extend({ isClosed: z.boolean(), names: z.array(z.string()) })
const list = z.object({
  self: peer,
  isClosed: z.boolean(),
  trusted: z.array(peer.extend({ since: z.number() })),
  offers: z.array(offer),
})

const examples = `
Examples:
  layerd trust --list                      on both nodes: their fingerprints, and what is offered
  layerd trust 7718-4122-9949-4482-6849    once the other one shows the same for itself

Exit codes: 0 done, 1 the node refused or does not run, 2 wrong usage.`

/** `layerd trust`: whose pushes count in a swarm that is open to strangers. */
export function trustCommand(): Command {
  const command = new Command('trust')
    .description('accept what a peer pushes, in a swarm that is open to strangers')
    .argument('[peer]', 'PeerId of the peer, or its fingerprint as its own node shows it')
    .option('--list', 'Show the fingerprint of this node, accepted peers, and what others offer.')
    .addHelpText('after', examples)
  return addNodeFlags(command).action(async (text: string | undefined, flags: TrustFlags) => {
    if ((text === undefined) === (flags.list === undefined))
      command.error('error: give a peer, or --list', { exitCode: 2, code: 'layerd.usage' })
    if (text === undefined) await ask(flags, 'trust-list', {}, (answer) => listText(read(list, answer)))
    else await ask(flags, 'trust', { peer: text }, (answer) => acceptedText(read(accepted, answer)))
  })
}

/** `layerd untrust`: takes that back. */
export function untrustCommand(): Command {
  const command = new Command('untrust')
    .description('no longer accept what a peer pushes')
    .argument('<peer>', 'PeerId or fingerprint of a peer that is accepted')
    .addHelpText('after', '\nExample:\n  layerd untrust 7718-4122-9949-4482-6849\n\nExit codes: as for "layerd trust".')
  return addNodeFlags(command).action(async (text: string, flags: NodeFlags) => {
    await ask(flags, 'untrust', { peer: text }, (answer) => {
      const { peerId, fingerprint } = read(peer, answer)
      return `${peerId} (${fingerprint}) is not accepted any more\n`
    })
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
  for (const { name, publisher, fingerprint } of offers) lines.push(`  ${fingerprint}  ${publisher}  ${name}`)
  return `${lines.join('\n')}\n`
}
