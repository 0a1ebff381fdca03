/** A command could not do what it was asked to; the message is for the person who asked. */
export class Failure extends Error {
  override readonly name = 'Failure'
}

/** An error and its causes on one line. */
export function reasonText(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at !== undefined && parts.length < 5; at = at instanceof Error ? at.cause : undefined) {
    const text = at instanceof AggregateError && at.errors[0] !== undefined ? reasonText(at.errors[0]) : messageOf(at)
    if (!parts.includes(text)) parts.push(text)
  }
  return parts.join(': ')
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return (error.message || error.name).replace(/\s*\n\s*/g, ' ')
}
