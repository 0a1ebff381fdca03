/** The text form of a libp2p PeerId. */
export type PeerId = string
