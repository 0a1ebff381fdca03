import type { Digest } from '../../proxy/oci/digest.ts'
import type { ContentSource } from '../../proxy/ports.ts'
import { ControlError } from '../control/operation.ts'
import { contentReader, heldReader } from './content.ts'
import { type ImageName, nameText } from './names.ts'
import { type ImageNode, manifestsOf, ofPlatform, platformsOf, readImage } from './tree.ts'

interface ChooseOptions {
  readonly content: Pick<ContentSource, 'open' | 'held'>
  /** Whether the store has a blob. */
  readonly isStored: (digest: Digest) => boolean
}

/** What of an image is meant. */
export interface AskedImage {
  readonly name: ImageName
  readonly digest: Digest
  /** All where it is empty. */
  readonly platforms: readonly string[]
  /** Whether the platforms that are whole here are enough, where none is asked for and at least one is whole. */
  readonly isPartEnough: boolean
}

export interface ChosenImage {
  readonly root: ImageNode
  /** Those of the platforms that were asked for, and the root. */
  readonly manifests: readonly ImageNode[]
  readonly platforms: readonly string[]
}

/**
 * Chooses by what an index says of its images, before they are read: a node that pulled for a client has the manifest of one platform,
 * and can do without the others.
 * @throws {OciError} for what can't be had; {ControlError} for what there is not, or is not here now
 */
export async function chooseImage(
  options: ChooseOptions,
  asked: AskedImage,
  signal: AbortSignal,
): Promise<ChosenImage> {
  const { name, digest, platforms, isPartEnough } = asked
  const { repository } = name
  const readHere = () => readImage(digest, heldReader(options.content, repository, signal))
  if (platforms.length === 0 && isPartEnough) {
    const here = await readHere()
    const whole = here && wholeOf(here, options.isStored)
    if (whole !== undefined) return all(whole)
  }
  const reader = contentReader(options.content, repository, signal)
  const root = await readImage(digest, reader, platforms).catch(async (error: unknown) => {
    signal.throwIfAborted()
    const here = platforms.length > 0 ? undefined : await readHere().catch(() => undefined)
    const whole = here && wholeOf(here, options.isStored)
    const [first] = whole === undefined ? [] : platformsOf(whole)
    if (first === undefined) throw error
    throw new ControlError(
      `not all platforms of ${nameText(name)} can be had (${(error as Error).message}): "--platform ${first}" is what is here`,
    )
  })
  if (root === undefined) throw new ControlError(`nobody has ${nameText(name)}`)
  if (platforms.length === 0) return all(root)
  const manifests = [...new Set([...platforms.flatMap((one) => ofPlatform(root, one)), root])]
  return { root, manifests, platforms: [...new Set(manifests.flatMap(({ platform }) => platform ?? []))] }
}

function all(root: ImageNode): ChosenImage {
  return { root, manifests: manifestsOf(root), platforms: platformsOf(root) }
}

/** An image with the manifests alone of which all is here; undefined where that is no image. */
function wholeOf(root: ImageNode, isStored: (digest: Digest) => boolean): ImageNode | undefined {
  const prune = (node: ImageNode): ImageNode | undefined => {
    if (!node.blobs.every(({ digest }) => isStored(digest))) return undefined
    const children: ImageNode[] = []
    const missing = [...node.missing]
    for (const child of node.children) {
      const pruned = prune(child)
      if (pruned === undefined) missing.push(child.digest)
      else children.push(pruned)
    }
    return missing.length > 0 && children.length === 0 ? undefined : { ...node, children, missing }
  }
  const whole = prune(root)
  if (whole === undefined) return undefined
  // Attestations alone are no image.
  const hasPlatforms = platformsOf(root).length > 0
  return hasPlatforms && platformsOf(whole).length === 0 ? undefined : whole
}
