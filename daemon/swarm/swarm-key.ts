import { readFile } from 'node:fs/promises'
import { swarmKeyPattern } from '../../config/swarm-key.ts'

/**
 * Reads the pre-shared key that closes the swarm.
 * @throws {Error} where the file is missing or has another form; the node must not start in an open swarm instead
 */
export async function loadSwarmKey(file: string): Promise<Uint8Array> {
  let text: string
  try {
    text = await readFile(file, 'latin1')
  } catch (cause) {
    throw new Error(`swarm.swarmKey: the file ${file} can't be read: ${(cause as Error).message}`, { cause })
  }
  if (!swarmKeyPattern.test(text)) {
    throw new Error(
      `swarm.swarmKey: ${file} is not a swarm key; expected the three lines ` +
        '"/key/swarm/psk/1.0.0/", "/base16/" and 64 hexadecimal digits',
    )
  }
  return new TextEncoder().encode(text.trimEnd().replaceAll('\r\n', '\n'))
}
