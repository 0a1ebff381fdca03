import { chmod, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { askCredentialHelper } from '../../proxy/upstream/credential-helper.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'

const bytes = Buffer.from('the bytes of a private layer')
const base64 = (text: string) => Buffer.from(text).toString('base64')
const neverAborted = new AbortController().signal

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerd-credentials-'))
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env.PATH}`)
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

/** Puts a program into PATH. It finds the server's URL in $url. */
async function installHelper(name: string, script: string): Promise<void> {
  const file = join(folder, `docker-credential-${name}`)
  await writeFile(
    file,
    `#!/bin/sh\n[ "$1" = get ] || exit 9\nread -r url\necho "$url" >> '${folder}/asked'\n${script}\n`,
  )
  await chmod(file, 0o755)
}

async function writeConfig(config: unknown): Promise<string> {
  const path = join(folder, 'config.json')
  await writeFile(path, typeof config === 'string' ? config : JSON.stringify(config))
  return path
}

async function privateRegistry(accounts: Record<string, string> = { user: 'secret' }) {
  const fake = await FakeUpstream.start()
  const tokens = fake.requireBearer({ accounts, identityTokens: ['refresh-me'] })
  return { fake, tokens, digest: fake.addBlob(bytes) }
}

test("the Docker config file's auths", async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  const dockerConfig = await writeConfig({ auths: { [`http://${fake.host}/v2/`]: { auth: base64('user:secret') } } })
  await using client = new TestClient(fake, { dockerConfig })
  expect(await client.open(digest)).toMatchObject({ access: 'private' })
  expect(await client.pull(digest)).toEqual(bytes)
})

test('an identity token is exchanged by POST', async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  const dockerConfig = await writeConfig({ auths: { [fake.host]: { identitytoken: 'refresh-me' } } })
  await using client = new TestClient(fake, { dockerConfig })
  expect(await client.pull(digest)).toEqual(bytes)
  const [request] = fake.seen('POST /token')
  expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
    grant_type: 'refresh_token',
    client_id: 'layerd',
    refresh_token: 'refresh-me',
    service: 'fake',
    scope: 'repository:library/app:pull',
  })
})

test('configured credentials come before the file', async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  const dockerConfig = await writeConfig({ auths: { [fake.host]: { auth: base64('user:wrong') } } })
  await using client = new TestClient(fake, { dockerConfig, registry: { username: 'user', password: 'secret' } })
  expect(await client.pull(digest)).toEqual(bytes)
})

test("another host's entry is not used", async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  const dockerConfig = await writeConfig({ auths: { '127.0.0.1:1': { auth: base64('user:secret') } } })
  await using client = new TestClient(fake, { dockerConfig })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  expect(fake.seen('/token')[0]?.headers.authorization).toBeUndefined()
})

test('the file is read again when it changes, and tokens of before are not used any more', async () => {
  const { fake, tokens, digest } = await privateRegistry({ user: 'secret', other: 'pass' })
  await using _ = fake
  const dockerConfig = await writeConfig({ auths: {} })
  await utimes(dockerConfig, 1, 1)
  await using client = new TestClient(fake, { dockerConfig })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  await writeConfig({ auths: { [fake.host]: { auth: base64('user:secret') } } })
  expect(await client.pull(digest)).toEqual(bytes)
  await writeConfig({ auths: { [fake.host]: { auth: base64('other:pass!!') } } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  expect(tokens.issued).toBe(1)
})

test('a file that is no JSON is warned of, once, without its text', async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  const dockerConfig = await writeConfig(`{"auths":{"x":{"auth":"${base64('user:secret')}"`)
  await using client = new TestClient(fake, { dockerConfig })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  expect(client.warnings).toEqual([expect.objectContaining({ fields: { path: dockerConfig, reason: 'not JSON' } })])
})

test.each([
  ['credHelpers', (host: string) => ({ credHelpers: { [host]: 'test' }, credsStore: 'missing' })],
  ['credsStore', () => ({ credsStore: 'test' })],
])('a helper of %s is asked for the host, and its answer kept', async (_what, config) => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  await installHelper('test', `printf '{"ServerURL":"%s","Username":"user","Secret":"secret"}' "$url"`)
  const dockerConfig = await writeConfig(config(fake.host))
  await using client = new TestClient(fake, { dockerConfig })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(await asked()).toEqual([fake.host])
})

test("a helper's identity token", async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  await installHelper('test', `echo '{"Username":"<token>","Secret":"refresh-me"}'`)
  const dockerConfig = await writeConfig({ credHelpers: { [fake.host]: 'test' } })
  await using client = new TestClient(fake, { dockerConfig })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(fake.seen('POST /token')).toHaveLength(1)
})

test('a store that has nothing leaves it to auths', async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  await installHelper('test', 'echo "credentials not found in native keychain"; exit 1')
  const dockerConfig = await writeConfig({
    credsStore: 'test',
    auths: { [fake.host]: { auth: base64('user:secret') } },
  })
  await using client = new TestClient(fake, { dockerConfig })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(client.warnings).toEqual([])
})

test('a helper that fails is warned of, and public images are pulled all the same', async () => {
  const fake = await FakeUpstream.start()
  await using _ = fake
  fake.requireBearer()
  await installHelper('test', 'echo secret-output; exit 3')
  const dockerConfig = await writeConfig({ credHelpers: { [fake.host]: 'test' } })
  await using client = new TestClient(fake, { dockerConfig })
  expect((await client.open(fake.addBlob(bytes))).access).toBe('public')
  expect(client.warnings).toHaveLength(1)
  expect(JSON.stringify(client.warnings)).toContain('exit code 3')
  expect(JSON.stringify(client.warnings)).not.toContain('secret-output')
})

test("a helper's password that is rejected is asked for again", async () => {
  const fake = await FakeUpstream.start()
  await using _ = fake
  const digest = fake.addBlob(bytes)
  fake.requireBasic('user', 'first')
  await installHelper('test', `printf '{"Username":"user","Secret":"%s"}' "$(cat '${folder}/password')"`)
  await writeFile(join(folder, 'password'), 'first')
  const dockerConfig = await writeConfig({ credHelpers: { [fake.host]: 'test' } })
  await using client = new TestClient(fake, { dockerConfig })
  await client.pull(digest)
  await writeFile(join(folder, 'password'), 'second')
  fake.requireBasic('user', 'second')
  expect(await client.pull(digest)).toEqual(bytes)
  expect(await asked()).toHaveLength(2)
})

test("another helper's answer takes the place of the one before, when the file names it", async () => {
  const { fake, digest } = await privateRegistry()
  await using _ = fake
  await installHelper('before', 'echo "credentials not found"')
  await installHelper('after', `echo '{"Username":"user","Secret":"secret"}'`)
  const dockerConfig = await writeConfig({ credsStore: 'before' })
  await using client = new TestClient(fake, { dockerConfig })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  await writeConfig({ credsStore: 'after' })
  expect(await client.pull(digest)).toEqual(bytes)
})

const failures: readonly [what: string, name: string, script: string, expected: RegExp][] = [
  ['is not installed', 'absent', '', /cannot be run/],
  ['would be a path', '../evil', '', /not the name/],
  ['has an option for a name', '-x', '', /not the name/],
  ['answers no JSON', 'test', 'echo hello', /JSON/],
  ['answers without a secret', 'test', `echo '{"Username":"user"}'`, /without Username and Secret/],
  ['answers null', 'test', 'echo null', /without Username and Secret/],
  ['answers too much', 'test', 'yes', /too much/],
  ['hangs', 'test', 'sleep 60', /in time/],
]

test.each(failures)('a helper that %s', async (_what, name, script, expected) => {
  if (name === 'test') await installHelper(name, script)
  await expect(askCredentialHelper(name, 'a.example', { signal: neverAborted, timeout: 500 })).rejects.toThrow(expected)
})

test('Docker Hub has the name that Docker gave it', async () => {
  await installHelper('test', `printf '{"Username":"%s","Secret":"s"}' "$url"`)
  expect(await askCredentialHelper('test', 'https://index.docker.io/v1/', { signal: neverAborted })).toMatchObject({
    username: 'https://index.docker.io/v1/',
  })
})

async function asked(): Promise<string[]> {
  const { readFile } = await import('node:fs/promises')
  return (await readFile(join(folder, 'asked'), 'utf8')).trim().split('\n')
}
