import { pushLayout } from '../fixtures/images/push.ts'

// node push.ts LAYOUT REGISTRY: a process of its own, so that it can run in the registry's network namespace.

const [, , layout = '', registry = ''] = process.argv
await pushLayout(layout, registry)
