import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { PeerId } from './ports.ts'

/**
 * Reads the identity of the node, or makes one on the first start: an Ed25519 private key in libp2p's protobuf form,
 * mode 0600. A file that exists and is not such a key is never replaced, because a new PeerId would silently fall out of
 * the allowlists of other nodes.
 * @throws {Error} where the file can't be read, can't be written or is not an Ed25519 key
 */
export async function loadIdentity(file: string): Promise<Ed25519PrivateKey> {
  const existing = await readKey(file)
  if (existing !== undefined) return existing
  await createKey(file, privateKeyToProtobuf(await generateKeyPair('Ed25519')))
  const created = await readKey(file)
  if (created === undefined) throw new Error(`the identity file ${file} vanished while it was created`)
  return created
}

/** Writes the identity where its file was removed under the running node, or the next start would have another PeerId. */
export async function keepIdentity(file: string, key: Ed25519PrivateKey): Promise<void> {
  const isThere = await stat(file).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  )
  if (!isThere) await createKey(file, privateKeyToProtobuf(key))
}

/** The PeerId of an identity. */
export function peerIdOf(key: Ed25519PrivateKey): PeerId {
  return peerIdFromPrivateKey(key).toString()
}

async function readKey(file: string): Promise<Ed25519PrivateKey | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(file)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Error(`the identity file ${file} can't be read: ${(cause as Error).message}`, { cause })
  }
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return key
  } catch (cause) {
    throw damaged(file, bytes.length, cause)
  }
  throw damaged(file, bytes.length)
}

function damaged(file: string, length: number, cause?: unknown): Error {
  return new Error(
    `the identity file ${file} (${length} bytes) is damaged or not an Ed25519 key in libp2p's format: ` +
      'restore it from a backup, or remove it to give this node a new PeerId',
    { cause },
  )
}

/** Writes the whole key under another name first; `link` then makes it appear at once, and keeps a key that was there first. */
async function createKey(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    await link(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await unlink(draft)
  }
}
