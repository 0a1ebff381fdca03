/** Names of the files that the bench leaves in its working folder. */
export const RESULTS = 'results.json'
export const SVG = 'progress.svg'
