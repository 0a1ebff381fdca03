import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

// node file-registry.ts LAYOUT PORT: a registry that knows nothing but the blobs of an OCI layout, and those that are asked for as manifests.

const READ_BYTES = 1024 * 1024

const [layout = '', port = ''] = process.argv.slice(2)

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://registry')
  const [, kind, hex] = /\/(blobs|manifests)\/sha256:([0-9a-f]{64})$/.exec(pathname) ?? []
  if (hex === undefined) return void response.writeHead(request.url === '/v2/' ? 200 : 404).end()
  const file = join(layout, 'blobs/sha256', hex)
  const facts = await stat(file).catch(() => undefined)
  if (facts === undefined) return void response.writeHead(404).end()
  const type = kind === 'manifests' ? 'application/vnd.oci.image.manifest.v1+json' : 'application/octet-stream'
  response.writeHead(200, { 'content-type': type, 'content-length': facts.size })
  if (request.method === 'HEAD') return void response.end()
  // A client that leaves is not this program's failure.
  await pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), response).catch(() => {})
}

createServer((request, response) => void answer(request, response)).listen(Number(port), '127.0.0.1')
