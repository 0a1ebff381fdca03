import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { INTERFACES_MS } from './constants.ts'

interface InterfaceWatchOptions {
  /** The machine has gained or lost addresses. */
  readonly onChange: () => void
  /** For tests: what the system says. */
  readonly read?: () => NodeJS.Dict<NetworkInterfaceInfo[]>
}

/** Looks at the machine's addresses again and again: Node has no event for them. */
export class InterfaceWatch {
  readonly #options: InterfaceWatchOptions
  #before: string
  #timer: NodeJS.Timeout | undefined

  constructor(options: InterfaceWatchOptions) {
    this.#options = options
    this.#before = this.#read()
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), INTERFACES_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  look(): void {
    const now = this.#read()
    if (now === this.#before) return
    this.#before = now
    this.#options.onChange()
  }

  /** Without link-local addresses: each container that starts brings one, and no peer is reached by them. */
  #read(): string {
    const { read = networkInterfaces } = this.#options
    try {
      return Object.entries(read())
        .flatMap(([name, addresses = []]) =>
          addresses
            .filter(({ address, internal }) => !internal && !/^fe[89ab]/i.test(address))
            .map(({ cidr }) => `${name} ${cidr}`),
        )
        .sort()
        .join('\n')
    } catch {
      // Some sandboxes don't let a process ask.
      return ''
    }
  }
}
