import { mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Tools } from '../e2e/debian.ts'
import { freePort } from '../e2e/exec.ts'
import { Child } from './child.ts'

const PROBE_DEADLINE_MS = 2_000

/** A registry or a cache in front of one. */
export interface Registry extends AsyncDisposable {
  /** Base URL. */
  url: string
  pid: number
}

/** Debian's docker-registry; with `remote`, as a pull-through cache of that one. */
export async function startRegistry(tools: Tools, folder: string, remote?: string): Promise<Registry> {
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const config = {
    version: '0.1',
    // Its log would be counted with the bytes that it sends.
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: `127.0.0.1:${port}` },
    ...(remote && { proxy: { remoteurl: remote } }),
  }
  const file = join(folder, 'config.yml')
  writeFileSync(file, JSON.stringify(config)) // JSON is YAML
  const program = join(tools.bookworm, 'usr/bin/docker-registry')
  return ready(new Child('docker-registry', join(folder, 'log'), program, ['serve', file]), port, folder)
}

/** nginx as a cache of a registry, in which one fetch serves all that ask for the same blob. */
export async function startNginx(tools: Tools, folder: string, remote: string): Promise<Registry> {
  mkdirSync(join(folder, 'temp'), { recursive: true })
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/temp/${name};`,
  )
  // Its workers are somebody else by default, who may not enter the temporary folder.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const config = `
daemon off; ${user} worker_processes auto; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off; sendfile on; tcp_nopush on; ${temporary.join(' ')}
  proxy_cache_path ${folder}/cache keys_zone=blobs:1m max_size=100g use_temp_path=off;
  server {
    listen 127.0.0.1:${port};
    location /v2/ {
      proxy_pass ${remote}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache blobs; proxy_cache_valid 200 1d; proxy_cache_lock on;
      proxy_cache_lock_timeout 120s; proxy_cache_lock_age 120s;
    }
  }
}`
  writeFileSync(join(folder, 'nginx.conf'), config)
  const args = ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')]
  return ready(new Child('nginx', join(folder, 'log'), join(tools.bookworm, 'usr/sbin/nginx'), args), port, folder)
}

/** A registry of this project, for what needs no other one: it serves the blobs of a layout, from its own process. */
export async function startFileRegistry(layout: string, log: string): Promise<Registry> {
  const port = await freePort()
  const program = join(import.meta.dirname, 'file-registry.ts')
  return ready(new Child('file registry', log, process.execPath, [program, layout, String(port)]), port)
}

/** @param folder its data, which goes when it is disposed of */
async function ready(child: Child, port: number, folder?: string): Promise<Registry> {
  const url = `http://127.0.0.1:${port}`
  try {
    await child.ready(async () => (await fetch(`${url}/v2/`, { signal: AbortSignal.timeout(PROBE_DEADLINE_MS) })).ok)
  } catch (error) {
    await child.stop()
    throw error
  }
  return {
    url,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stop()
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}
