import { z } from 'zod'

const said = z.object({ publisher: z.string(), digest: z.string().optional() })

/** What a node says of names of pushed images. */
export const namesSchema = z.object({
  fingerprint: z.string(),
  names: z.number(),
  conflicts: z.array(z.object({ name: z.string(), used: said, others: z.array(said) })),
  offers: z.array(said.extend({ name: z.string(), fingerprint: z.string(), more: z.number().optional() })),
  passedOver: z.array(said.extend({ name: z.string(), owner: z.string().optional() })).optional(),
})

/** Lines of one kind; of more, their number is said. */
const maxLines = 10

/** The same as lines for a person. */
export function nameLines(status: z.output<typeof namesSchema> | undefined): string[] {
  if (status === undefined) return []
  const { fingerprint, names, conflicts, offers, passedOver = [] } = status
  const one = ({ publisher, digest = 'nothing' }: z.output<typeof said>) => `${digest} by ${publisher}`
  const disputed = conflicts.map(
    ({ name, used, others }) =>
      `problem    ${name} was pushed at once as ${one(used)}, which is used, and ${others.map(one).join(', ')}`,
  )
  const offered = offers.map(
    ({ name, publisher, fingerprint: of, more = 0 }) =>
      `  ${name}${more === 0 ? '' : ` and ${more} more`}  by ${publisher} (${of})`,
  )
  const theirs = passedOver.map(({ name, publisher, owner }) => `  ${name}  by ${publisher}; it is ${owner}'s`)
  return [
    `           ${fingerprint} (fingerprint, for "layerd trust" on other nodes)`,
    ...some(disputed),
    ...(names === 0 ? [] : [`names      ${names} of pushed images`]),
    ...(offers.length === 0 ? [] : ['offered    by peers that are not accepted ("layerd trust")', ...some(offered)]),
    ...(theirs.length === 0
      ? []
      : ['left out   in a repository that another accepted peer pushed first', ...some(theirs)]),
  ]
}

function some(lines: readonly string[]): readonly string[] {
  return lines.length <= maxLines ? lines : [...lines.slice(0, maxLines), `  and ${lines.length - maxLines} more`]
}
