import type { Client } from './client.ts'
import { ctr, kubelet } from './containerd.ts'
import { buildah, podman, skopeo } from './containers.ts'
import { docker } from './docker.ts'
import { crane, oras } from './registry-tools.ts'

/** Every client that layerd promises to serve. */
export const CLIENTS: readonly Client[] = [
  ctr('1.6'),
  ctr('2'),
  kubelet('1.6'),
  kubelet('2'),
  docker('20.10', 'graph driver'),
  docker('28', 'graph driver'),
  docker('28', 'containerd store'),
  podman,
  buildah,
  skopeo,
  oras,
  crane,
]
