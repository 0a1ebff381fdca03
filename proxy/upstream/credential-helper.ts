import { type ChildProcess, spawn } from 'node:child_process'
import type { Credentials } from './docker-config.ts'

/** Helpers ask keychains and clouds, not people: one that needs longer than this, in ms, hangs. */
const helperTimeout = 10_000
const maxOutputBytes = 64 * 1024

/** It becomes a part of a file name that is looked up in PATH, so it holds no slash. */
const helperName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

interface HelperOptions {
  readonly signal: AbortSignal
  /** In ms. */
  readonly timeout?: number
}

/**
 * Asks `docker-credential-<name> get` (docker/docker-credential-helpers): the server's URL on its standard input,
 * `{"Username","Secret"}` on its standard output.
 * @returns undefined where the helper knows no credentials for the server
 * @throws {Error} where it cannot be run, fails, or takes too long
 */
export async function askCredentialHelper(
  name: string,
  serverUrl: string,
  options: HelperOptions,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`
  if (!helperName.test(name)) throw new Error(`"${name.slice(0, 80)}" is not the name of a credential helper`)
  const { code, output } = await run(program, serverUrl, options)
  // The protocol says it in words, on standard output.
  if (/credentials not found/i.test(output)) return undefined
  if (code !== 0) throw new Error(`${program} failed with exit code ${code}`)
  return credentialsFrom(output, program)
}

function credentialsFrom(output: string, program: string): Credentials | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(output)
  } catch {
    throw new Error(`${program} did not answer with JSON`)
  }
  const { Username: username, Secret: secret } = (answer ?? {}) as { Username?: unknown; Secret?: unknown }
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw new Error(`${program} answered without Username and Secret`)
  }
  if (secret === '') return undefined
  return username === '<token>'
    ? { kind: 'identity-token', token: secret }
    : { kind: 'password', username, password: secret }
}

function run(program: string, input: string, options: HelperOptions): Promise<{ code: number | null; output: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; output: string }>()
  const deadline = AbortSignal.timeout(options.timeout ?? helperTimeout)
  const stop = AbortSignal.any([options.signal, deadline])
  // A group of its own, so that what the helper started ends with it.
  const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], detached: true })
  const chunks: Buffer[] = []
  let length = 0
  const giveUp = (reason: string): void => {
    killGroup(child)
    reject(new Error(`${program} ${reason}`))
  }
  const onStop = (): void => giveUp(deadline.aborted ? 'did not answer in time' : 'was not waited for')
  stop.addEventListener('abort', onStop, { once: true })
  child.on('error', (cause) => reject(new Error(`${program} cannot be run`, { cause })))
  child.stdin.on('error', () => {
    // It did not read its input; what it answers tells.
  })
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length
    chunks.push(chunk)
    if (length > maxOutputBytes) giveUp('answered too much')
  })
  child.on('close', (code) => resolve({ code, output: Buffer.concat(chunks).toString('utf8') }))
  child.stdin.end(input)
  return promise.finally(() => stop.removeEventListener('abort', onStop))
}

function killGroup(child: ChildProcess): void {
  child.stdout?.destroy()
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
