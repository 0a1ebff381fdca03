import { z } from 'zod'
import { publisher } from './scalars.ts'

/** The options of `registry` that say whose pushes go where, see {@link configSchema}. */
export const nameOptions = {
  offerPushes: z
    .enum(['always', 'closed', 'never'])
    .default('always')
    .describe(
      'In which swarms peers hear of the images that are pushed to this node, and get them: in all (always), in those with swarmKey or allowedPeers (closed), or in none (never). With always anybody in the same network as a node without swarmKey can have them; repositories.neverShare takes names out, as in "localhost/secret/**".',
    ),
  publishers: z
    .array(publisher)
    .default(['members'])
    .describe(
      'Whose pushes count here, beside those to this node: members (of a swarm with swarmKey or allowedPeers; in an open one those accepted by "layerd trust"), a PeerId, anyone or nobody. "=" and a pattern behind it are for some names only: "12D3KooW...=team/**". With anyone, whoever is in the network decides what a name is that nobody has pushed before.',
    ),
}
