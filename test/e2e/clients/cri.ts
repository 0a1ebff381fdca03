import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { Login } from '../../fixtures/images/push.ts'
import { waitFor } from '../exec.ts'
import type { ClientEnvironment } from './client.ts'

const CALL_DEADLINE_MS = 90_000
const EXIT_DEADLINE_MS = 60_000

type Reply = (error: Error | null, answer: Record<string, unknown>) => void
type Stub = Record<string, (request: object, options: { deadline: number }, reply: Reply) => void> & { close(): void }
type StubClass = new (address: string, creds: unknown, options: object) => Stub

/** Speaks the Container Runtime Interface (CRI v1) to containerd as the kubelet does. */
export class CriClient {
  readonly #images: Stub
  readonly #runtime: Stub
  readonly #environment: ClientEnvironment

  constructor(socket: string, environment: ClientEnvironment) {
    const options = { keepCase: true, longs: Number, enums: String, defaults: true }
    const loaded = loadPackageDefinition(loadSync(environment.tools.criProto, options))
    const v1 = (loaded as unknown as { runtime: { v1: Record<'ImageService' | 'RuntimeService', StubClass> } }).runtime
      .v1
    // containerd refuses the authority that gRPC makes of a socket's path.
    const stub = (service: StubClass) =>
      new service(`unix://${socket}`, credentials.createInsecure(), { 'grpc.default_authority': 'localhost' })
    this.#images = stub(v1.ImageService)
    this.#runtime = stub(v1.RuntimeService)
    this.#environment = environment
  }

  /**
   * Pulls and gives the digests under which containerd then knows the image.
   *
   * @param auth what the kubelet has from a pod's imagePullSecrets.
   */
  async pull(image: string, auth?: Login): Promise<string[]> {
    await call(this.#images, 'PullImage', { image: { image }, ...(auth === undefined ? {} : { auth }) })
    const { image: status } = await call(this.#images, 'ImageStatus', { image: { image } })
    return (status as { repo_digests: string[] }).repo_digests.map((it) => it.slice(it.indexOf('@') + 1))
  }

  /** Makes a pod with one container, waits until that has ended, and removes both. Gives its output. */
  async runInPod(image: string, command: readonly string[]): Promise<string> {
    const { folder, cgroup } = this.#environment
    const name = image.replaceAll(/\W/g, '-')
    const pod = {
      metadata: { name, uid: name, namespace: 'default', attempt: 0 },
      log_directory: folder,
      // NODE is the jail's network: the test has no CNI plugins, which are not layerd's business.
      linux: {
        cgroup_parent: cgroup,
        security_context: { namespace_options: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } },
      },
    }
    const { pod_sandbox_id } = await call(this.#runtime, 'RunPodSandbox', { config: pod })
    const log = `${name}.log`
    const config = { metadata: { name, attempt: 0 }, image: { image }, command, log_path: log, linux: {} }
    const request = { pod_sandbox_id, sandbox_config: pod, config }
    const { container_id } = await call(this.#runtime, 'CreateContainer', request)
    await call(this.#runtime, 'StartContainer', { container_id })
    const exited = async () => {
      const { status } = await call(this.#runtime, 'ContainerStatus', { container_id })
      return (status as { state: string }).state === 'CONTAINER_EXITED'
    }
    await waitFor('the container to end', exited, EXIT_DEADLINE_MS)
    await call(this.#runtime, 'RemoveContainer', { container_id })
    await call(this.#runtime, 'StopPodSandbox', { pod_sandbox_id })
    await call(this.#runtime, 'RemovePodSandbox', { pod_sandbox_id })
    return outputOf(await readFile(join(folder, log), 'utf8'))
  }

  close(): void {
    this.#images.close()
    this.#runtime.close()
  }
}

function call(stub: Stub, method: string, request: object): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const reply: Reply = (error, answer) =>
      error ? reject(new Error(`CRI ${method}: ${error.message}`)) : resolve(answer)
    stub[method]?.(request, { deadline: Date.now() + CALL_DEADLINE_MS }, reply)
  })
}

/** A CRI log's lines are `<time> <stream> <F or P> <text>`. */
function outputOf(log: string): string {
  return log.replaceAll(/^\S+ \S+ F /gm, '')
}
