import { Command } from 'commander'
import { addNodeFlags, type NodeFlags } from './node-flags.ts'

const imageHelp = 'Name as clients use it: alpine, ghcr.io/team/app:1, localhost:5050/app@sha256:…'

export interface PullFlags extends NodeFlags {
  readonly platform?: readonly string[]
}

export interface ExportFlags extends NodeFlags {
  readonly platform?: string
}

const collect = (value: string, before: readonly string[] = []) => [...before, value]

export function pullCommand(): Command {
  const command = new Command('pull')
    .description('fetch an image with all of its layers, so that it can be shared')
    .argument('<image>', imageHelp)
    .option('--platform <os/arch>', 'Only this platform of it. (repeatable; default: all)', collect)
  const examples = ['layerd pull alpine:3.20', 'layerd pull --platform linux/arm64 ghcr.io/team/app:1']
  return addNodeFlags(command, examples).action(async (image: string, flags: PullFlags) => {
    const { pull } = await import('./run/pull.ts')
    await pull(image, flags)
  })
}

export function exportCommand(): Command {
  const command = new Command('export')
    .description('write an image to an archive for docker load and others')
    .argument('<image>', imageHelp)
    .argument('<file>', 'Where the archive goes; - for standard output.')
    .option('--platform <os/arch>', 'Only this platform of it. (default: all)')
  const examples = [
    'layerd export alpine:3.20 alpine.tar      then: docker load -i alpine.tar',
    'layerd export --platform linux/amd64 app:1 - | podman load',
  ]
  return addNodeFlags(command, examples).action(async (image: string, file: string, flags: ExportFlags) => {
    const { exportTo } = await import('./run/export.ts')
    await exportTo(image, file, flags)
  })
}
