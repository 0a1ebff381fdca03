import { Worker } from 'node:worker_threads'
import { assertWholeBlocks, type Sha256Engine, type Sha256State } from './state.ts'
import { type Compress, createCompress } from './wasm.ts'

export interface PortableSetup {
  /** Where the bytes of a job are; it is written between jobs only. */
  readonly memory: SharedArrayBuffer
}

export interface PortableJob {
  readonly state: Sha256State
  /** Bytes. */
  readonly length: number
}

/** Bytes that are handed to the worker at once: that much memory, whatever the number of calls that wait. */
const pieceBytes = 1024 * 1024

/** Up to this length, handing the work to another thread and back costs more than doing it: some 10 µs. */
const inlineBytes = 4 * 1024

const workerFile = new URL(
  import.meta.url.endsWith('.ts') ? './portable-worker.ts' : './portable-worker.js',
  import.meta.url,
)

/** SHA-256 in WebAssembly, in one worker thread that starts with the first call that needs it. Works everywhere. */
export class PortableEngine implements Sha256Engine {
  readonly name = 'portable'
  readonly #compress: Compress
  readonly #workerFile: URL
  readonly #memory = new SharedArrayBuffer(pieceBytes)
  #worker: Worker | undefined
  /** The job in the worker. */
  #job: PromiseWithResolvers<Sha256State> | undefined
  /** Settles when the jobs so far have ended; never rejects. */
  #idle: Promise<unknown> = Promise.resolve()
  #closed = false

  private constructor(compress: Compress, file: URL) {
    this.#compress = compress
    this.#workerFile = file
  }

  /** @param file what runs in the worker */
  static async create(file: URL = workerFile): Promise<PortableEngine> {
    return new PortableEngine(await createCompress(), file)
  }

  async advance(state: Sha256State, bytes: Uint8Array): Promise<Sha256State> {
    assertWholeBlocks(state, bytes)
    if (bytes.length <= inlineBytes) return this.#compress(state, bytes)
    let after = state
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      const before = after
      const done = this.#idle.then(() => this.#run(before, bytes.subarray(start, start + pieceBytes)))
      this.#idle = done.catch(() => {})
      after = await done
    }
    return after
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#worker?.terminate()
  }

  async #run(state: Sha256State, bytes: Uint8Array): Promise<Sha256State> {
    if (this.#closed) throw new Error('the SHA-256 engine is closed')
    this.#worker ??= this.#start()
    const worker = this.#worker
    this.#job = Promise.withResolvers()
    new Uint8Array(this.#memory).set(bytes)
    // A copy, as a message takes all the memory along that an array is a part of.
    worker.postMessage({ state: Uint8Array.from(state), length: bytes.length } satisfies PortableJob)
    // The process may end while the worker has nothing to do, but not during a job that somebody waits for.
    worker.ref()
    try {
      return await this.#job.promise
    } finally {
      worker.unref()
    }
  }

  #start(): Worker {
    const workerData: PortableSetup = { memory: this.#memory }
    // Flags of the process such as --import are not for the worker.
    const worker = new Worker(this.#workerFile, { name: 'sha256', workerData, execArgv: [] })
    const ended = (reason: unknown) => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#job?.reject(new Error('the SHA-256 worker ended', { cause: reason }))
    }
    worker.on('message', (state: Sha256State) => this.#job?.resolve(state))
    worker.on('error', ended)
    worker.on('exit', ended)
    return worker
  }
}
