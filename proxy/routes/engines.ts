/**
 * How container engines begin their `User-Agent`: Docker Engine, containerd (and what uses its client: BuildKit, nerdctl, CRI), podman,
 * Buildah, CRI-O. The command line of Docker says `Docker-Client/`, skopeo and crane say their own names: they look at images as well.
 */
const engines = /^(?:docker|containerd|buildkit|libpod|containers|Buildah|cri-o)\//

/** Whether a client fetches images to run them, as far as it says who it is. */
export function isContainerEngine(userAgent: string): boolean {
  return engines.test(userAgent)
}

/**
 * Library of crane, ko, kaniko and others. It asks for manifests with HEAD before it pushes them, and with GET where it pulls; where a
 * user wants a digest alone, it asks with GET after a HEAD that says no.
 */
const pushLibrary = /\bgo-containerregistry\b/

/**
 * Whether HEAD of a manifest is the question of a client that has it, and leaves out what is there. Whoever resolves a name accepts
 * several types. containerd, and what uses its client, accepts at a push the one type of what it has, and as the last resort anything.
 */
export function isOfPush(accept: string, userAgent: string): boolean {
  if (pushLibrary.test(userAgent)) return true
  const [type = '', others, ...more] = accept.split(',').map((one) => one.trim())
  return type !== '' && !type.includes('*') && others === '*/*' && more.length === 0
}
