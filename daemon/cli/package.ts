import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'

const manifestSchema = z.object({ name: z.string(), version: z.string(), description: z.string() })

/** The package.json of layerd, above the sources as well as above the compiled files in dist/. */
export function readManifest(): z.output<typeof manifestSchema> {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new Error(`no package.json above ${import.meta.dirname}`)
    folder = dirname(folder)
  }
  return manifestSchema.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')))
}
