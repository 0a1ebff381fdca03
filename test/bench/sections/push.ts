import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../e2e/exec.ts'
import { megabytes, type Section } from '../bench.ts'
import { layoutImage } from '../image.ts'
import { interleave } from '../measure.ts'
import { type Registry, startRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

/** Of the time that docker-registry takes. */
const GOAL = 1.2

/** What a push costs. Each goes to a registry that is new and empty: clients remember what a registry has. */
export const push: Section = {
  name: 'push',
  title: 'a push by skopeo and by crane, against the same into docker-registry',
  async run(bench) {
    const { runs, size } = bench.options
    const tools = await bench.tools()
    const layout = join(bench.folder, 'layout')
    const { reference } = await layoutImage(layout, size)
    const home = join(bench.folder, 'home')
    await mkdir(home, { recursive: true })
    const policy = join(home, 'policy.json')
    await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }))
    const env = { ...process.env, HOME: home }
    const copy = ['--policy', policy, 'copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false']
    const programs = {
      skopeo: (to: string) =>
        run(join(tools.bookworm, 'usr/bin/skopeo'), [...copy, `oci:${layout}:${reference}`, `docker://${to}`], { env }),
      crane: (to: string) => run(join(tools.forky, 'usr/bin/crane'), ['push', '--insecure', layout, to], { env }),
    }
    /** @returns seconds */
    const time = async (program: (to: string) => Promise<unknown>, start: () => Promise<RegistryLike>) => {
      await using registry = await start()
      const started = performance.now()
      await program(`${registry.url.replace('http://127.0.0.1', 'localhost')}/bench/pushed:1`)
      return (performance.now() - started) / 1000
    }
    let registries = 0
    const layerd = () => bench.startLayerd('http://127.0.0.1:1')
    const straight = () => startRegistry(tools, join(bench.folder, `registry-${registries++}`))
    const rows: Row[] = []
    for (const [name, program] of Object.entries(programs)) {
      bench.log(`${runs} x ${megabytes(size)} by ${name}`)
      // The first of each brings the layout and the programs into memory.
      for (const start of [straight, layerd]) await time(program, start)
      const times = await interleave(runs, {
        layerd: () => time(program, layerd),
        straight: () => time(program, straight),
      })
      rows.push(
        toRow({
          what: `push ${megabytes(size)}, ${name}`,
          unit: 's',
          layerd: times.layerd,
          baseline: { name: 'docker-registry', figures: times.straight },
          goal: { of: 'ratio', atMost: GOAL },
        }),
      )
    }
    return rows
  },
}

type RegistryLike = Pick<Registry, 'url' | typeof Symbol.asyncDispose>
