import { createReadStream } from 'node:fs'
import { createServer } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { createCertificate } from '../../daemon/swarm/transfer/certificate.ts'

// node https-sender.ts FILE PORT: sends a file to whoever asks, with the kind of certificate that peers use.

const [file = '', port = ''] = process.argv.slice(2)

createServer(await createCertificate(), (_, response) => {
  pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), response).catch(() => {})
}).listen(Number(port), '127.0.0.1')
