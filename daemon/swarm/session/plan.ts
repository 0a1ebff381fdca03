import type { ChunkRequest } from './survey.ts'

/** What is to be done now. */
export interface Plan {
  readonly start: readonly ChunkRequest[]
  readonly cancel: readonly number[]
  /** When to ask again, if nothing happens before; in ms of the session's clock. */
  readonly wakeAt: number
}

/** What a session may begin, as other sessions of its node leave room. */
export interface Room {
  /** Chunks. */
  readonly budget: number
  /** Requests; a session that has next to none may begin some all the same. */
  readonly requests: number
  /** Requests that are under way already, of all sessions. */
  readonly running: number
}
