import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'

const manifestType = 'application/vnd.oci.image.manifest.v1+json'

interface File {
  readonly bytes: Buffer
  readonly type: string
}

interface Account {
  readonly password: string
  readonly repositories: ReadonlySet<string>
}

/** A registry with Basic in which each account may read some repositories, on 127.0.0.1 until the test is over. */
export class GuardedRegistry {
  /** By name. A test takes an account away by deleting it. */
  readonly accounts = new Map<string, Account>()
  /** Below `/v2/`. */
  readonly #files = new Map<string, File>()
  readonly #server = createServer((request, response) => this.#answer(request, response))
  /** `METHOD /path` of all requests. */
  readonly requests: string[] = []
  url = ''

  static async start(): Promise<GuardedRegistry> {
    const registry = new GuardedRegistry()
    await once(registry.#server.listen(0, '127.0.0.1'), 'listening')
    registry.url = `http://127.0.0.1:${(registry.#server.address() as AddressInfo).port}`
    onTestFinished(() => registry.stop())
    return registry
  }

  /** An image with one layer and the tag `latest`. */
  addImage(repository: string, layer: Buffer): { readonly layer: Digest; readonly manifest: Digest } {
    const config = Buffer.from(JSON.stringify({ of: repository }))
    const described = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: manifestType,
        config: described(config, 'application/vnd.oci.image.config.v1+json'),
        layers: [described(layer, 'application/vnd.oci.image.layer.v1.tar')],
      }),
    )
    for (const blob of [config, layer])
      this.#files.set(`${repository}/blobs/${digestOf(blob)}`, { bytes: blob, type: 'application/octet-stream' })
    for (const reference of ['latest', digestOf(bytes)])
      this.#files.set(`${repository}/manifests/${reference}`, { bytes, type: manifestType })
    const tags = Buffer.from(JSON.stringify({ name: repository, tags: ['latest'] }))
    this.#files.set(`${repository}/tags/list`, { bytes: tags, type: 'application/json' })
    return { layer: digestOf(layer), manifest: digestOf(bytes) }
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', 'http://registry')
    this.requests.push(`${request.method} ${pathname}`)
    const account = this.#accountOf(request.headers.authorization)
    if (account === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="guarded"' }).end()
      return
    }
    const path = pathname.replace('/v2/', '')
    const file = this.#files.get(path)
    const mayRead = [...account.repositories].some((repository) => path.startsWith(`${repository}/`))
    if (path === '' || file === undefined || !mayRead) {
      response.writeHead(path === '' ? 200 : mayRead ? 404 : 403).end()
      return
    }
    const { bytes, type } = file
    const headers = { 'content-type': type, 'content-length': bytes.length, 'docker-content-digest': digestOf(bytes) }
    response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : bytes)
  }

  #accountOf(authorization: string | undefined): Account | undefined {
    const encoded = /^Basic (.+)$/.exec(authorization ?? '')?.[1] ?? ''
    const [name = '', password] = Buffer.from(encoded, 'base64').toString().split(':')
    const account = this.accounts.get(name)
    return account?.password === password ? account : undefined
  }
}
