import { access, chmod, lstat, unlink } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'

/** Only the user of the node, and root. */
const socketMode = 0o600

/** No socket can be made in a folder: its file system has none, as those of some shares and memory cards. */
export class NoSockets extends Error {
  override readonly name = 'NoSockets'
}

/** What systems say then: of the call, or of the mode that is set after it. */
const noSocketCodes: readonly unknown[] = ['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'ENOSYS', 'EINVAL']

/** Connections at the same time: a few more than requests that are taken, so that the others are told why. */
const maxConnections = 64

/** A process that lives takes a connection at once; what answers nothing for so long, in ms, counts as alive. */
const probeTimeout = 2_000

/** Headers must be complete within this many ms. */
const headersTimeout = 20_000

/**
 * Serves HTTP at a unix socket for the user of the node. The file that a dead process has left is replaced.
 * @throws Error that says what to do, where the socket can't be had
 */
export async function listenAtSocket(path: string, handler: RequestListener): Promise<Server> {
  await removeStale(path)
  const server = createServer({ headersTimeout, requestTimeout: 0 }, handler)
  server.maxConnections = maxConnections
  await new Promise<void>((resolve, reject) => {
    // Later it is an error of accepting a connection: the others go on.
    server.on('error', (error: NodeJS.ErrnoException) => reject(unusable(path, error)))
    // The socket is made within this call: nobody else may use it for a moment.
    const before = process.umask(0o777 & ~socketMode)
    try {
      server.listen(path, resolve)
    } finally {
      process.umask(before)
    }
  })
  await chmod(path, socketMode).catch((error: NodeJS.ErrnoException) => {
    server.close()
    throw unusable(path, error)
  })
  return server
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw unusable(path, error)
  })
  if (found === undefined) {
    // A listener would say that it may not.
    await access(dirname(path)).catch((error: NodeJS.ErrnoException) => {
      throw unusable(path, error)
    })
    return
  }
  if (!found.isSocket()) {
    throw new Error(`${path} is no socket: remove it, or set control.socket to another path`)
  }
  if (await isAlive(path)) {
    throw new Error(`another node is controlled at ${path}: stop it, or set control.socket to another path`)
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw unusable(path, error)
  })
}

/** Whether somebody listens there. */
async function isAlive(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const timer = setTimeout(() => resolve(true), probeTimeout)
      timer.unref()
      socket.once('connect', () => resolve(true))
      socket.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
        else reject(unusable(path, error))
      })
    })
  } finally {
    socket.destroy()
  }
}

function unusable(path: string, error: NodeJS.ErrnoException): Error {
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such folder',
    EACCES: 'this user may not use it',
    EADDRINUSE: 'another process has just taken it',
  }
  const reason = reasons[error.code ?? ''] ?? error.message
  const text = `no control socket can be made at ${path} (control.socket): ${reason}`
  return new (noSocketCodes.includes(error.code) ? NoSockets : Error)(text, { cause: error })
}
