/** RFC 6838, 4.2: type and subtype have 127 characters at most each, and begin with a letter or a digit. */
const restrictedName = '[a-z0-9][a-z0-9!#$&^_.+-]{0,126}'
const mediaType = new RegExp(`^${restrictedName}/${restrictedName}$`)

/**
 * Reads a media type as registries, peers and manifests tell it. It becomes a header of answers, so nothing else is kept as one.
 * @returns type and subtype in lower case, without parameters; undefined where the text is none
 */
export function parseMediaType(text: string | null | undefined): string | undefined {
  const name = text?.split(';', 1)[0]?.trim().toLowerCase()
  return name !== undefined && mediaType.test(name) ? name : undefined
}
