import { parentPort, workerData } from 'node:worker_threads'
import type { PortableJob, PortableSetup } from './portable.ts'
import { createCompress } from './wasm.ts'

/** The worker of portable.ts: compresses what lies in the shared memory, one job after the other. */

const { memory }: PortableSetup = workerData
const compress = await createCompress()

parentPort?.on('message', ({ state, length }: PortableJob) => {
  parentPort?.postMessage(compress(state, new Uint8Array(memory, 0, length)))
})
