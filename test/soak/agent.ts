import { createHash } from 'node:crypto'
import { request } from 'node:http'

// Lives in a node's network namespace and asks its servers what it is told to ask. Runs until its parent is gone.

/** A request, as a client on the node makes it. */
export interface Question {
  readonly port: number
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** ms until it gives up. */
  readonly deadline: number
  /** Hangs up after so many bytes. */
  readonly hangUpAfter?: number
  /** Gives the body as text. */
  readonly asText?: boolean
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly bytes: number
  /** Of what came. */
  readonly digest: string
  /** Whether the answer ended as HTTP says it must. */
  readonly isComplete: boolean
  /** ms. */
  readonly took: number
  readonly text: string | undefined
}

/** @throws {Error} where nothing was answered, or not all of it in time */
function ask({ port, path, method = 'GET', headers = {}, deadline, hangUpAfter, asText }: Question): Promise<Answer> {
  const since = performance.now()
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const outgoing = request(
    { host: '127.0.0.1', port, path, method, headers, agent: false, signal: AbortSignal.timeout(deadline) },
    (incoming) => {
      const hash = createHash('sha256')
      const pieces: Buffer[] = []
      let bytes = 0
      incoming.on('data', (piece: Buffer) => {
        hash.update(piece)
        if (asText) pieces.push(piece)
        bytes += piece.length
        if (hangUpAfter !== undefined && bytes >= hangUpAfter) incoming.destroy()
      })
      incoming.on('error', () => {})
      incoming.on('close', () => {
        const took = performance.now() - since
        if (!incoming.complete && took >= deadline) {
          reject(new Error(`${incoming.statusCode}, ${bytes} bytes, and no end within ${deadline} ms`))
          return
        }
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers as Answer['headers'],
          bytes,
          digest: `sha256:${hash.digest('hex')}`,
          isComplete: incoming.complete,
          took,
          text: asText ? Buffer.concat(pieces).toString() : undefined,
        })
      })
    },
  )
  outgoing.on('error', reject)
  outgoing.end()
  return promise
}

process.on('message', ({ id, question }: { id: number; question: Question }) => {
  ask(question).then(
    (answer) => process.send?.({ id, answer }),
    (error: Error) => process.send?.({ id, error: error.message }),
  )
})
process.on('disconnect', () => process.exit())
