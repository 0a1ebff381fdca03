import { Command } from 'commander'
import { request } from 'undici'
import type { ListenAddress } from '../../config/schema.ts'
import { Failure, reasonText } from './failure.ts'
import { configOf } from './flags.ts'
import { reachable } from './reachable.ts'
import { statusSchema, statusText } from './report.ts'

/** A node on the same machine answers within milliseconds; one that takes longer has a problem worth knowing about. */
const deadlineMs = 5_000

interface StatusFlags {
  readonly config?: string
  readonly admin?: string
  readonly json?: true
}

export function statusCommand(): Command {
  return new Command('status')
    .description('ask a running node how it is doing')
    .option('--admin <host:port>', 'Admin address of the node. (default: the one in the configuration)')
    .option('--config <file>', 'YAML file that the node runs with.')
    .option('--json', 'Print what the node answers as JSON.')
    .action(async ({ config, admin, json }: StatusFlags) => {
      // A given address is enough: whoever asks may not be able to read the files of the node's configuration.
      const flags = admin === undefined ? { config } : { admin }
      const answer = await askNode(configOf(flags, admin === undefined ? process.env : {}).admin.listen)
      if (json) {
        process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`)
        return
      }
      const status = statusSchema.safeParse(answer)
      if (!status.success) throw new Failure('the node answers in a form that this version does not know; try --json')
      process.stdout.write(statusText(status.data))
    })
}

async function askNode(listen: ListenAddress): Promise<unknown> {
  if (listen.port === 0) throw new Failure('the admin address has port 0; give the port the node took with --admin')
  const address = reachable(listen)
  const url = `http://${address}/api/v1/status`
  try {
    // Not fetch, which refuses some ports that a node can listen on (https://fetch.spec.whatwg.org/#port-blocking).
    const { statusCode, body } = await request(url, { signal: AbortSignal.timeout(deadlineMs) })
    if (statusCode === 403) throw new Failure(`${url} refuses to answer: ${(await body.text()).trim()}`)
    if (statusCode !== 200) {
      await body.dump()
      throw new Failure(`${url} answers ${statusCode}: is it the admin address of a node?`)
    }
    return await body.json()
  } catch (error) {
    if (error instanceof Failure) throw error
    if (error instanceof SyntaxError) throw new Failure(`${url} does not answer in JSON: is it the admin address?`)
    if ((error as Error).name === 'TimeoutError') {
      throw new Failure(`the node on ${address} has not answered within ${deadlineMs / 1000} s`)
    }
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ECONNREFUSED' ? 'nothing listens there' : reasonText(error)
    throw new Failure(`no node runs on ${address} (${reason}). "layerd serve" starts one; --admin asks another address`)
  }
}
