import { ControlError } from '../control/operation.ts'

/** An archive can't be read as an image. The message says what is wrong with it. */
export class BadArchive extends ControlError {}
