import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Logger } from 'pino'
import { machineMark } from './machine.ts'
import type { PeerId } from './ports.ts'

interface IdentityOptions {
  /** PeerIds that may connect: where others go by them, a new one would be refused everywhere. */
  readonly allowedPeers?: readonly string[]
  readonly log?: Pick<Logger, 'warn'>
  /** For tests: what tells this machine from others. */
  readonly machine?: () => Promise<string | undefined>
}

/**
 * Reads the identity of the node, or makes one on the first start: an Ed25519 private key in libp2p's protobuf form,
 * mode 0600. A file that exists and is not such a key is never replaced, because a new PeerId would silently fall out of
 * the allowlists of other nodes.
 *
 * A key that was made on another machine came with a copy of its data folder. Both would have one PeerId and never meet, so that one
 * is put aside, and a new one is made, unless nodes go by PeerIds. What tells machines apart is kept in the file `machine` beside it.
 * @throws {Error} where the file can't be read, can't be written or is not an Ed25519 key
 */
export async function loadIdentity(
  file: string,
  { allowedPeers = [], log, machine = machineMark }: IdentityOptions = {},
): Promise<Ed25519PrivateKey> {
  const found = await readKey(file)
  const mark = await machine()
  const markFile = join(dirname(file), 'machine')
  const before = mark === undefined ? undefined : await readMark(markFile)
  if (found !== undefined && (before === undefined || before === mark)) {
    // On a full disk the node starts without it.
    if (mark !== undefined && before === undefined)
      await writeFile(markFile, `${mark}\n`, { mode: 0o600 }).catch(() => {})
    return found
  }
  if (found !== undefined && allowedPeers.length > 0) {
    log?.warn(
      { peerId: peerIdOf(found) },
      `the data folder comes from another machine; this node keeps its identity, as swarm.allowedPeers names PeerIds. If the folder was copied, remove ${file} here, and start again; if it was moved, remove the file "machine" beside it`,
    )
    return found
  }
  if (found !== undefined) {
    const aside = `${file}.copied-${peerIdOf(found)}`
    await rename(file, aside)
    log?.warn(
      { peerId: peerIdOf(found), aside },
      'the data folder comes from another machine: this node gets an identity of its own. If it was moved, not copied, and others know it by its PeerId (swarm.allowedPeers), stop it, move the file back to its place, and remove the file "machine" beside it',
    )
  }
  if (mark !== undefined) {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(markFile, `${mark}\n`, { mode: 0o600 })
  }
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

async function readMark(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.trim() === '' ? undefined : text.trim()
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
