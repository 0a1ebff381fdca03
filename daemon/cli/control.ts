import type { Command } from 'commander'
import { type Dispatcher, Client as HttpClient } from 'undici'
import { controlPath, tooLongPath } from '../control/path.ts'
import { Failure, reasonText } from './failure.ts'
import { configOf } from './flags.ts'

export interface NodeFlags {
  readonly config?: string
  readonly dataDir?: string
  readonly json?: true
}

/** A node that has nothing to tell for so long, in ms, is not waited for: it gives up a request itself before. */
const silenceLimit = 660_000

/** Characters of one event. */
const maxLine = 8 * 1024 * 1024

/** One line of what a node answers. */
export type ControlEvent = { readonly event: string } & Readonly<Record<string, unknown>>

/** What a node is asked to do, and for what; `input` is of its `daemon/control` operation. */
interface Question {
  readonly operation: string
  readonly input: object
  readonly signal?: AbortSignal
}

/** Adds the flags by which a command finds its node. */
export function addNodeFlags(command: Command): Command {
  return command
    .option('--data-dir <folder>', 'Data folder of the node. (default: as for "layerd serve")')
    .option('--config <file>', 'YAML file that the node runs with.')
    .option('--json', 'Print what the node answers as JSON.')
}

/** A node that runs on this machine, at its control socket. */
export class ControlClient {
  readonly #path: string
  readonly #http: HttpClient

  private constructor(path: string) {
    this.#path = path
    this.#http = new HttpClient('http://localhost', {
      socketPath: path,
      headersTimeout: silenceLimit,
      bodyTimeout: silenceLimit,
    })
  }

  /**
   * Works with the node that flags, variables and the configuration name.
   * @throws {ConfigError}, {Failure}
   */
  static async use<T>(flags: NodeFlags, work: (node: ControlClient) => Promise<T>): Promise<T> {
    const { config, dataDir } = flags
    const path = controlPath(configOf({ config, dataDir }))
    const problem = tooLongPath(path)
    if (problem !== undefined) throw new Failure(problem)
    const node = new ControlClient(path)
    try {
      return await work(node)
    } finally {
      await node.#http.destroy()
    }
  }

  /** Asks for one answer. @throws {Failure} */
  async ask({ operation, input, signal }: Question): Promise<unknown> {
    const { body } = await this.#post(`/v1/${operation}`, JSON.stringify(input), signal)
    return await this.#reading(() => body.json())
  }

  /** Asks for something that takes its time. The last event is `done`. @throws {Failure} also where the node says so in the end */
  async *events({ operation, input, signal }: Question): AsyncGenerator<ControlEvent> {
    yield* this.#events(await this.#post(`/v1/${operation}`, JSON.stringify(input), signal))
  }

  /** As `events`, and sends bytes. */
  async *upload(
    { operation, input, signal }: Question,
    bytes: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<ControlEvent> {
    const { Readable } = await import('node:stream')
    const path = `/v1/${operation}?input=${encodeURIComponent(JSON.stringify(input))}`
    yield* this.#events(await this.#post(path, Readable.from(bytes, { objectMode: false }), signal))
  }

  /** Asks for bytes. They are whole where the iteration ends without an error. @throws {Failure} */
  async *download({ operation, input, signal }: Question): AsyncGenerator<Uint8Array> {
    const { body } = await this.#post(`/v1/${operation}`, JSON.stringify(input), signal)
    const pieces = body[Symbol.asyncIterator]()
    while (true) {
      const next = await this.#reading(() => pieces.next())
      if (next.done === true) return
      yield next.value
    }
  }

  async #post(
    path: string,
    body: NonNullable<Dispatcher.RequestOptions['body']>,
    signal: AbortSignal | undefined,
  ): Promise<Dispatcher.ResponseData> {
    const response = await this.#http
      .request({ method: 'POST', path, body, ...(signal && { signal }) })
      .catch((error: unknown) => {
        throw this.#explain(error)
      })
    if (response.statusCode === 200) return response
    const answer = (await response.body.json().catch(() => undefined)) as { message?: unknown } | undefined
    const version = response.headers['layerd-version']
    if (version === undefined) throw new Failure(`what listens at ${this.#path} is no layerd node`)
    const message = String(answer?.message ?? `it answers ${response.statusCode}`)
    if (response.statusCode !== 404) throw new Failure(message)
    throw new Failure(
      `the node that runs is older than this command: ${message}. Restart it with the version of this one`,
    )
  }

  async *#events({ body }: Dispatcher.ResponseData): AsyncGenerator<ControlEvent> {
    let text = ''
    const decoder = new TextDecoder()
    const pieces = body[Symbol.asyncIterator]()
    while (true) {
      const next = await this.#reading(() => pieces.next())
      if (next.done === true) throw new Failure('the node has ended before it was done: its log says why')
      text += decoder.decode(next.value, { stream: true })
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      if (text.length > maxLine) throw new Failure('the node answers in a form that this version does not know')
      for (const line of lines) {
        const event = JSON.parse(line) as ControlEvent
        if (event.event === 'error') throw new Failure(String(event.message))
        yield event
        if (event.event === 'done') return
      }
    }
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      throw error instanceof Failure ? error : ended(error)
    }
  }

  #explain(error: unknown): Failure {
    const { code } = error as NodeJS.ErrnoException
    const path = this.#path
    if (code === 'ENOENT') {
      return new Failure(
        `no node runs with this data folder: there is no ${path}. "layerd serve" starts one; --data-dir or --config names another`,
      )
    }
    if (code === 'ECONNREFUSED')
      return new Failure(`the node of ${path} does not run any more: "layerd serve" starts it`)
    if (code === 'EACCES' || code === 'EPERM') {
      return new Failure(`this user may not use ${path}: run the command as the user of the node, or as root`)
    }
    if (code === 'UND_ERR_SOCKET') return ended(error)
    return new Failure(`the node at ${path} does not answer: ${reasonText(error)}`)
  }
}

function ended(error: unknown): Failure {
  return new Failure(`the node has ended before it was done: its log says why (${reasonText(error)})`)
}
