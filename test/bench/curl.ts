import { run } from '../e2e/exec.ts'

const DEADLINE_S = 120

/**
 * Fetches a URL by curl and throws the bytes away.
 *
 * @param size bytes that must come
 * @returns milliseconds from curl's start to the last byte, by its own clock.
 * @throws Error when another status or other than `size` bytes come.
 */
export async function curl(url: string, size: number): Promise<number> {
  const format = '%{http_code} %{size_download} %{time_total}'
  const args = ['-q', '-sS', '--noproxy', '*', '--max-time', String(DEADLINE_S), '-o', '/dev/null', '-w', format, url]
  const [status, bytes, seconds] = (await run('curl', args, { deadlineMs: 2 * DEADLINE_S * 1000 })).split(' ')
  if (status !== '200' || Number(bytes) !== size) throw new Error(`${url}: ${status}, ${bytes} of ${size} bytes`)
  return Number(seconds) * 1000
}

/** The same blob for so many clients at once. @returns milliseconds of the slowest. */
export async function curlAtOnce(clients: number, url: string, size: number): Promise<number> {
  return Math.max(...(await Promise.all(Array.from({ length: clients }, () => curl(url, size)))))
}
