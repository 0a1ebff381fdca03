import { z } from 'zod'
import { type ImageParts, imageInput, imageOperations } from '../images/operations.ts'
import type { Importer } from '../local/import.ts'
import { type Operations, takes } from './operation.ts'

interface NodeParts extends ImageParts {
  readonly importer: Pick<Importer, 'take'>
}

/** What can be asked of a node at its control socket. */
export function nodeOperations({ importer, ...images }: NodeParts): Operations {
  return {
    import: takes(z.strictObject({ name: imageInput.optional() }), async ({ name }, body, call) => ({
      images: await importer.take(body, name, call),
    })),
    ...imageOperations(images),
  }
}
