import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { Chromium } from './clients/chromium.ts'
import { freePort, waitFor } from './exec.ts'
import { jail, leaveOut } from './jail.ts'

// A real browser has pages of an attacker open. They read nothing of the node, make it store nothing, and run nothing in its name.

/** What no page may ever see. */
const SECRET = 'the secret of a private image'
const encoded = (text: string) => Buffer.from(text).toString('base64')

const here = jail()
let chromium: Chromium | undefined

beforeAll(async () => {
  if (here) chromium = await Chromium.start(here, 'MAP *.example 127.0.0.1, MAP localhost 127.0.0.1')
})

afterAll(() => chromium?.stop())

/** A node with a private image, a public one with a page in it, and the server of an attacker. */
async function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!chromium) throw new Error('the browser did not start')
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.requireBearer({ accounts: { node: 'own' }, anonymous: true })
  const attackerPort = await freePort()
  const script = `<script>new Image().src='http://evil.example:${attackerPort}/ran'</script>`
  const html = Buffer.from(`<!doctype html>${script}`)
  const json = { schemaVersion: 2, mediaType: 'text/html', layers: [], page: script }
  const files = {
    secret: upstream.addBlob(Buffer.from(SECRET)),
    html: upstream.addBlob(html),
    svg: upstream.addBlob(Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg">${script}</svg>`)),
    json: upstream.addBlob(Buffer.from(JSON.stringify({ mediaType: 'text/html', page: script }))),
    manifest: upstream.addManifest(json, 'text/html'),
    wanted: upstream.addBlob(Buffer.from('something that the node does not have')),
  }
  const secretManifest = upstream.addManifest({ schemaVersion: 2, layers: [], annotations: { SECRET } })
  upstream.tag('team/app', 'latest', secretManifest)
  const dockerConfig = join(await tempDir(), 'config.json')
  await writeFile(dockerConfig, JSON.stringify({ auths: { [upstream.host]: { auth: encoded('node:own') } } }))
  const node = await startTestNode({
    registries: { 'docker.io': upstream.url },
    config: { registry: { hosts: ['mirror.example'] }, upstream: { dockerConfig } },
  })
  const base = '/v2/team/app'
  const paths = {
    ...{ secret: `${base}/blobs/${files.secret}`, tag: `${base}/manifests/latest` },
    ...{ html: `${base}/blobs/${files.html}`, svg: `${base}/blobs/${files.svg}` },
    ...{ json: `${base}/manifests/${files.json}`, manifest: `${base}/manifests/${files.manifest}` },
    ...{ jsonBlob: `${base}/blobs/${files.json}`, wanted: `${base}/blobs/${files.wanted}` },
  }
  // The node has all but what the attacker wants it to have.
  for (const path of Object.values(paths))
    if (path !== paths.wanted && path !== paths.json) await fetch(node.url + path)
  await waitFor('the node to have it', async () => (await node.status()).store.blobs >= 6, 60_000)
  const asked = upstream.requests.length
  const attacker = await startAttacker(attackerPort)
  const page = await chromium.page()
  return {
    ...{ node, paths, page, attacker, port: new URL(node.url).port, adminPort: node.addresses.admin.split(':').at(-1) },
    /** The node was asked so often by the browser, gave nothing, and asked nobody. */
    async expectUntouched(least: number) {
      const seen = node.log.filter(({ msg }) => msg === 'request').slice(-1_000)
      const refused = seen.filter(({ status }) => status === 403)
      expect(refused.length).toBeGreaterThanOrEqual(least)
      expect(upstream.requests.length - asked).toBe(0)
      expect((await node.status()).store.blobs).toBe(6)
      expect(attacker.seen).not.toContain('/ran')
    },
  }
}

/** A server with an empty page at `/`, which remembers what it was asked for. */
async function startAttacker(port: number) {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(request.url ?? '')
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>evil</title><body></body>')
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { seen, urlAt: (host: string) => `http://${host}:${port}/` }
}

/** In a page: uses a URL in each way that a page has, and tells what it could read. */
const ATTACK = (urls: readonly string[]) => `(async () => {
  const read = []
  const done = (element) => new Promise((resolve) => {
    element.onload = () => resolve('loaded')
    element.onerror = () => resolve('failed')
    setTimeout(() => resolve('late'), 3000)
    document.body.append(element)
  })
  const make = (name, fields) => Object.assign(document.createElement(name), fields)
  for (const url of ${JSON.stringify(urls)}) {
    const options = [{}, { mode: 'no-cors' }, { mode: 'no-cors', method: 'HEAD' }, { mode: 'no-cors', referrerPolicy: 'no-referrer' },
      { mode: 'no-cors', method: 'POST', body: 'x' }, { method: 'PUT', body: 'x' }, { headers: { authorization: 'Basic eDp4' } }]
    for (const one of options) await fetch(url, one).then((answer) => answer.text()).then((text) => read.push(text), () => {})
    const image = make('img', { src: url, referrerPolicy: 'no-referrer' })
    if (await done(image) === 'loaded') read.push('image ' + url)
    if (await done(make('script', { src: url })) === 'loaded') read.push('script ' + url)
    if (await done(make('link', { rel: 'stylesheet', href: url })) === 'loaded') read.push('style ' + url)
    for (const name of ['iframe', 'embed', 'object']) {
      const frame = make(name, name === 'object' ? { data: url } : { src: url })
      await done(frame)
      try { read.push(frame.contentDocument?.documentElement?.textContent ?? '') } catch {}
    }
    for (const method of ['get', 'post']) {
      const target = make('iframe', { name: 'frame' + Math.random() })
      document.body.append(target)
      const form = make('form', { action: url, method, target: target.name, enctype: 'text/plain' })
      document.body.append(form)
      const loaded = new Promise((resolve) => { target.onload = resolve; setTimeout(resolve, 3000) })
      form.submit()
      await loaded
    }
    navigator.sendBeacon(url, 'x')
    await import(url).then(() => read.push('module ' + url), () => {})
    const socket = new WebSocket(url.replace('http', 'ws'))
    await new Promise((resolve) => { socket.onopen = () => { read.push('socket ' + url); resolve() }; socket.onerror = resolve })
  }
  return read.filter((text) => text !== '')
})()`

/** Kinds of use in `ATTACK` that reach the node in any browser. */
const USES = 8

test('a page of another site, of another port, and in a network without fetch metadata', async (context) => {
  const { node, paths, page, attacker, port, expectUntouched } = await stage(context)
  const places: [string, string][] = [
    ['evil.example', `http://127.0.0.1:${port}`],
    ['localhost', `http://localhost:${port}`],
    ['127.0.0.1', `http://127.0.0.1:${port}`],
    // Not what a browser trusts: it sends no fetch metadata there.
    ['evil.example', `http://mirror.example:${port}`],
  ]
  for (const [host, mirror] of places) {
    await page.visit(attacker.urlAt(host))
    expect(await page.run(ATTACK([`${mirror}${paths.wanted}`, `${mirror}${paths.secret}`]))).toEqual([])
    // A link, which takes the page along.
    await page.visit(attacker.urlAt(host))
    await page.run(`location.href = ${JSON.stringify(`${mirror}${paths.wanted}`)}`)
    await waitFor('the link to be followed', async () => (await page.run('location.origin')) === mirror, 60_000)
    expect(await page.run('document.documentElement.textContent')).not.toContain('does not have')
  }
  await expectUntouched(places.length * USES)
  expect(node.log.filter(({ msg, status }) => msg === 'request' && status === 200).length).toBeLessThanOrEqual(7)
}, 900_000)

test('a name that leads to the attacker first, and to the node then', async (context) => {
  const { node, paths, page, port, adminPort, expectUntouched } = await stage(context)
  const read = (paths: readonly string[]) => `Promise.all(${JSON.stringify(paths)}.map((path) =>
    fetch(path).then(async (answer) => [answer.status, await answer.text()], () => [0, ''])))`
  for (const server of [port, adminPort]) {
    const origin = `http://rebound.example:${server}`
    await page.visit(`${origin}/`, '<!doctype html><title>evil</title><body></body>')
    expect(await page.run('location.origin')).toBe(origin)
    const all = [paths.secret, paths.tag, paths.wanted, '/v2/', '/api/v1/status', '/metrics', '/livez']
    const answers = (await page.run(read(all))) as [number, string][]
    // The page reads these answers: its browser takes the node for the server of the page.
    expect(answers.map(([status]) => status)).toEqual(all.map(() => 403))
    for (const [, text] of answers) {
      expect(text).toContain('registry.hosts')
      for (const secret of [SECRET, 'peerId', 'layerd_', (await node.status()).peerId])
        expect(text).not.toContain(secret)
    }
  }
  await expectUntouched(7)
})

test('a page that lies in an image, also where a person goes there', async (context) => {
  const { paths, page, attacker, port } = await stage(context)
  const mirror = `http://127.0.0.1:${port}`
  // It would run elsewhere.
  await page.visit(attacker.urlAt('evil.example'))
  await page.run(`document.body.append(Object.assign(new Image(), { src: '/ran' }))`)
  await waitFor('the attacker to hear of what runs', async () => attacker.seen.includes('/ran'), 60_000)
  attacker.seen.length = 0
  for (const path of [paths.html, paths.svg, paths.json, paths.jsonBlob, paths.manifest]) {
    await page.visit('about:blank')
    await page.visit(`${mirror}${path}`)
    expect(await page.run('document.contentType'), path).not.toMatch(/svg|xml$/)
    expect(await page.run('document.querySelectorAll("script").length')).toBe(0)
    expect(await page.run('window.origin')).toBe('null')
  }
  expect(attacker.seen).toEqual([])
})

test('the secret is one that the node itself has', async (context) => {
  const { node, paths } = await stage(context)
  expect(await (await fetch(node.url + paths.secret)).text()).toBe(SECRET)
  expect(digestOf(Buffer.from(SECRET))).toBe(paths.secret.split('/').at(-1))
})
