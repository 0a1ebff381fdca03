import { join } from 'node:path'
import { Daemon, freePort } from '../exec.ts'
import type { Jail } from '../jail.ts'

/** Deadline of one command to the browser, in ms. A page that uses two URLs in every way may wait 3 s for each of sixteen of them. */
const COMMAND_MS = 180_000

/** Runs Chromium in its own root, in a mount namespace that is gone with it. */
const SCRIPT = `
set -e
root=$1
shift
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs browser "$root/tmp"
exec chroot "$root" /usr/lib/chromium/chromium-headless-shell "$@"
`

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

/** Debian's Chromium without a window. */
export class Chromium {
  readonly #daemon: Daemon
  readonly #port: number

  private constructor(daemon: Daemon, port: number) {
    this.#daemon = daemon
    this.#port = port
  }

  /** @param rules what names lead to, as `--host-resolver-rules` has them */
  static async start({ tools, work }: Jail, rules: string): Promise<Chromium> {
    const port = await freePort()
    const flags = [
      // It runs as root in a jail, on pages of the tests alone.
      ...['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
      // New browsers ask before a public page may reach this machine; older ones, and a click, let it.
      '--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights,BlockInsecurePrivateNetworkRequests',
      ...['--user-data-dir=/tmp/profile', `--remote-debugging-port=${port}`, `--host-resolver-rules=${rules}`],
    ]
    const words = ['--mount', 'sh', '-c', SCRIPT, 'chromium', tools.browser, ...flags, 'about:blank']
    const daemon = new Daemon('chromium', join(work, 'chromium.log'), 'unshare', words)
    const chromium = new Chromium(daemon, port)
    try {
      await daemon.ready(() => chromium.#ask('version', 'GET'))
    } catch (error) {
      await daemon.stop('SIGKILL')
      throw error
    }
    return chromium
  }

  /** Opens an empty page. */
  async page(): Promise<Page> {
    const { webSocketDebuggerUrl } = (await this.#ask('new?about:blank', 'PUT')) as { webSocketDebuggerUrl: string }
    return await Page.open(webSocketDebuggerUrl)
  }

  stop(): Promise<void> {
    return this.#daemon.stop('SIGKILL')
  }

  async #ask(what: string, method: string): Promise<unknown> {
    const url = `http://127.0.0.1:${this.#port}/json/${what}`
    return await (await fetch(url, { method, signal: AbortSignal.timeout(COMMAND_MS) })).json()
  }
}

/** One page, by the Chrome DevTools Protocol. */
export class Page {
  readonly #socket: WebSocket
  readonly #pending = new Map<number, (message: Message) => void>()
  readonly #listeners = new Map<string, (params: Record<string, unknown>) => void>()
  #sent = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      if (message.id !== undefined) this.#pending.get(message.id)?.(message)
      else this.#listeners.get(message.method ?? '')?.(message.params ?? {})
    })
  }

  static async open(url: string): Promise<Page> {
    const socket = new WebSocket(url)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true })
      socket.addEventListener('error', () => reject(new Error('the browser takes no commands')), { once: true })
    })
    const page = new Page(socket)
    await page.#send('Page.enable')
    return page
  }

  /** Goes to a URL as if a person had typed it, and waits until it is loaded. @param body shown in the place of what the URL has */
  async visit(url: string, body?: string): Promise<void> {
    if (body !== undefined) await this.#send('Fetch.enable', { patterns: [{ urlPattern: url }] })
    const paused = Promise.withResolvers<string>()
    this.#listeners.set('Fetch.requestPaused', ({ requestId }) => paused.resolve(String(requestId)))
    const loaded = new Promise<void>((resolve) => this.#listeners.set('Page.loadEventFired', () => resolve()))
    const going = this.#send('Page.navigate', { url })
    if (body !== undefined) {
      const responseHeaders = [{ name: 'Content-Type', value: 'text/html' }]
      const answer = { responseCode: 200, responseHeaders, body: Buffer.from(body).toString('base64') }
      await this.#send('Fetch.fulfillRequest', { requestId: await paused.promise, ...answer })
      await this.#send('Fetch.disable')
    }
    const { errorText } = await going
    // A download is no page, so nothing is loaded then.
    if (errorText === undefined) await Promise.race([loaded, deadline(COMMAND_MS, `loading ${url}`)])
  }

  /** Runs an expression in the page, and gives what it, or its promise, has for a value. */
  async run(expression: string): Promise<unknown> {
    const how = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = (await this.#send('Runtime.evaluate', how)) as {
      result: { value?: unknown }
      exceptionDetails?: object
    }
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return result.value
  }

  async #send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.#sent
    const answered = new Promise<Message>((resolve) => this.#pending.set(id, resolve))
    this.#socket.send(JSON.stringify({ id, method, params }))
    const { result = {}, error } = await Promise.race([answered, deadline(COMMAND_MS, method)])
    this.#pending.delete(id)
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result
  }
}

function deadline(ms: number, what: string): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms).unref()
  })
}
