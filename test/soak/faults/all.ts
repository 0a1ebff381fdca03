import type { Fault } from './fault.ts'
import { folderFaults } from './folder.ts'
import { networkFaults } from './network.ts'
import { processFaults } from './process.ts'
import { upstreamFaults } from './upstream.ts'

export const FAULTS: readonly Fault[] = [...networkFaults, ...upstreamFaults, ...processFaults, ...folderFaults]
