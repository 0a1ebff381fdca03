import { z } from 'zod'
import type { Importer } from '../local/import.ts'
import { type Operations, takes } from './operation.ts'

interface NodeParts {
  readonly importer: Pick<Importer, 'take'>
}

/** Characters of an image's name: those of a name, a tag and a digest, and some more to say what is wrong with a longer one. */
const maxNameLength = 1_000

const nameInput = z.string().min(1).max(maxNameLength)

/** What can be asked of a node at its control socket. */
export function nodeOperations({ importer }: NodeParts): Operations {
  return {
    import: takes(z.strictObject({ name: nameInput.optional() }), async ({ name }, body, call) => ({
      images: await importer.take(body, name, call),
    })),
  }
}
