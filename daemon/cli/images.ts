import { Command } from 'commander'
import { addNodeFlags, type ExportFlags, type NodeFlags, type PullFlags } from './node-flags.ts'

const imageHelp = 'Name as clients use it: alpine, ghcr.io/team/app:1, localhost:5050/app@sha256:…'

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
    .option('--platform <os/arch>', 'Only this platform of it. (default: those that are whole here, or all)')
  const examples = [
    'layerd export alpine:3.20 alpine.tar      then: docker load -i alpine.tar',
    'layerd export --platform linux/amd64 app:1 - | podman load',
  ]
  return addNodeFlags(command, examples).action(async (image: string, file: string, flags: ExportFlags) => {
    const { exportTo } = await import('./run/export.ts')
    await exportTo(image, file, flags)
  })
}

export function imagesCommand(): Command {
  const command = new Command('images').description('list the images here, what they lack, and what peers offer')
  return addNodeFlags(command, ['layerd images', 'layerd images --json | jq .images[].name']).action(
    async (flags: NodeFlags) => {
      const { listImages } = await import('./run/manage.ts')
      await listImages(flags)
    },
  )
}

export function pinCommand(): Command {
  const command = new Command('pin')
    .description('fetch an image, and never evict it')
    .argument('<image>', imageHelp)
    .option('--platform <os/arch>', 'Only this platform of it. (repeatable; default: all)', collect)
  return addNodeFlags(command, ['layerd pin alpine:3.20']).action(async (image: string, flags: PullFlags) => {
    const { pull } = await import('./run/pull.ts')
    await pull(image, flags, 'pin')
  })
}

export function unpinCommand(): Command {
  const command = new Command('unpin').description('let an image be evicted again').argument('<image>', imageHelp)
  return addNodeFlags(command, ['layerd unpin alpine:3.20']).action(async (image: string, flags: NodeFlags) => {
    const { unpin } = await import('./run/manage.ts')
    await unpin(image, flags)
  })
}

export function rmCommand(): Command {
  const command = new Command('rm')
    .description('remove an image with all that no other one needs')
    .argument('<image>', imageHelp)
  return addNodeFlags(command, ['layerd rm localhost:5050/app:1']).action(async (image: string, flags: NodeFlags) => {
    const { remove } = await import('./run/manage.ts')
    await remove(image, flags)
  })
}

export function refreshCommand(): Command {
  const command = new Command('refresh')
    .description('ask the registry of a tag what it is now')
    .argument('<image>', imageHelp)
  return addNodeFlags(command, ['layerd refresh alpine:latest']).action(async (image: string, flags: NodeFlags) => {
    const { refresh } = await import('./run/manage.ts')
    await refresh(image, flags)
  })
}

export function gcCommand(): Command {
  const command = new Command('gc')
    .description('remove what no image needs')
    .option('--dry-run', 'Only say what would be removed.')
  return addNodeFlags(command, ['layerd gc --dry-run']).action(async (flags: NodeFlags & { dryRun?: true }) => {
    const { collectGarbage } = await import('./run/manage.ts')
    await collectGarbage(flags)
  })
}
