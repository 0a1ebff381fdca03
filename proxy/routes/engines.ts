/**
 * How container engines begin their `User-Agent`: Docker Engine, containerd (and what uses its client: BuildKit, nerdctl, CRI), podman,
 * Buildah, CRI-O. The command line of Docker says `Docker-Client/`, skopeo and crane say their own names: they look at images as well.
 */
const engines = /^(?:docker|containerd|buildkit|libpod|containers|Buildah|cri-o)\//

/** Whether a client fetches images to run them, as far as it says who it is. */
export function isContainerEngine(userAgent: string): boolean {
  return engines.test(userAgent)
}
