/** What a client's configuration is to say, and where it is. */
export interface Wish {
  /** The mirror's address, `host:port`. */
  readonly mirror: string
  /** Registries by name; undefined stands for all that the client asks. */
  readonly registries: readonly string[] | undefined
  /** Registries that the node knows, for clients that need a name for each. */
  readonly known: readonly string[]
  /** The client's configuration file, where it is not in its usual place. */
  readonly file: string | undefined
  readonly disk: Disk
  /** Home folder of a user who is not root; undefined for root. */
  readonly home: string | undefined
}

/** Reads the files of a machine, by the paths that its programs know them by. */
export interface Disk {
  /** The text of a file; undefined where there is none. @throws {Failure} where it can't be read */
  read(path: string): string | undefined
  /** Names in a folder, in order of their bytes; none where there is no folder. */
  list(folder: string): readonly string[]
}

/** A file as it is to be. */
export interface Edit {
  readonly path: string
  readonly text: string
}

/** What to change for one client. */
export interface Plan {
  readonly edits: readonly Edit[]
  /** What a person should know, and is not changed. */
  readonly notes: readonly string[]
}

/** A container client that can be pointed at the mirror. */
export interface Client {
  /** In words, for help texts. */
  readonly about: string
  /** Name of what is remembered for undoing; clients that read the same files share it. */
  readonly journal: string
  /** Commands after which changes of these files count. */
  restartAfter(paths: readonly string[]): readonly string[]
  /** @throws {Failure} where its files can't be changed, with what to do instead */
  plan(wish: Wish): Plan
}

/** First line of what this command adds to a file that has comments. */
export function addedBy(client: string): string {
  return `# Added by "layerd setup ${client}"; "layerd setup ${client} --undo" takes it out.`
}
