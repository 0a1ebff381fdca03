import { Command } from 'commander'
import { addNodeFlags, type NodeFlags } from './node-flags.ts'

interface TrustFlags extends NodeFlags {
  readonly list?: true
}

/** `layerd trust`: whose pushes count in a swarm that is open to strangers. */
export function trustCommand(): Command {
  const command = new Command('trust')
    .description('accept what a peer pushes, in a swarm that is open to strangers')
    .argument('[peer]', 'PeerId of the peer, or its fingerprint as its own node shows it')
    .option('--list', 'Show the fingerprint of this node, accepted peers, and what others offer.')
  const examples = [
    'layerd trust --list                      on both nodes: their fingerprints, and what is offered',
    'layerd trust 7718-4122-9949-4482-6849    once the other one shows the same for itself',
  ]
  return addNodeFlags(command, examples).action(async (text: string | undefined, flags: TrustFlags) => {
    if ((text === undefined) === (flags.list === undefined))
      command.error('error: give a peer, or --list', { exitCode: 2, code: 'layerd.usage' })
    const run = await import('./run/trust.ts')
    await (text === undefined ? run.listTrust(flags) : run.trust(text, flags))
  })
}

/** `layerd untrust`: takes that back. */
export function untrustCommand(): Command {
  const command = new Command('untrust')
    .description('no longer accept what a peer pushes')
    .argument('<peer>', 'PeerId or fingerprint of a peer that is accepted')
  const examples = ['layerd untrust 7718-4122-9949-4482-6849']
  return addNodeFlags(command, examples).action(async (text: string, flags: NodeFlags) => {
    const { untrust } = await import('./run/trust.ts')
    await untrust(text, flags)
  })
}
