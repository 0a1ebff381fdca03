import { pack as newPack, type Pack } from 'tar-stream'

/** A file that goes into an archive. */
export interface NewEntry {
  readonly name: string
  /** Bytes; `body` has as many. */
  readonly size: number
  /** A piece may be used again when the next one is asked for. */
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

/** The same for all entries, so that the same image gives the same archive. */
const mtime = new Date(0)

/** Writes a tar archive, an entry after the other, as fast as it is read. @throws what entries throw, and where one has another size */
export async function* writeArchive(entries: AsyncIterable<NewEntry> | Iterable<NewEntry>): AsyncGenerator<Uint8Array> {
  const pack = newPack()
  let failure: unknown
  const filling = fill(pack, entries).catch((error: unknown) => {
    failure = error
    pack.destroy(error as Error)
  })
  try {
    yield* pack
  } catch (error) {
    throw failure ?? error
  } finally {
    pack.destroy()
    await filling
  }
}

async function fill(pack: Pack, entries: AsyncIterable<NewEntry> | Iterable<NewEntry>): Promise<void> {
  for await (const { name, size, body } of entries) {
    const { promise: done, resolve, reject } = Promise.withResolvers<void>()
    const entry = pack.entry({ name, size, mtime }, (error) => (error == null ? resolve() : reject(error)))
    let isOver = false
    let goOn = () => {}
    const end = () => {
      isOver = true
      goOn()
    }
    done.then(end, end)
    entry.on('drain', () => goOn())
    for await (const piece of body) {
      if (isOver) return
      if (entry.write(Uint8Array.from(piece))) continue
      await new Promise<void>((resolve) => {
        goOn = resolve
        if (isOver) resolve()
      })
    }
    entry.end()
    await done
  }
  pack.finalize()
}
