import { describe, expect, it } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { bindings } from '../../../daemon/swarm/listening.ts'

const listen = (listen: string | string[]) => bindings(configSchema.parse({ swarm: { listen } }).swarm.listen)

describe('what is listened at', () => {
  it('is both families by default', () => {
    expect(bindings(configSchema.parse({}).swarm.listen)).toEqual([
      { host: '0.0.0.0', port: 4050 },
      { host: '::', port: 4050 },
    ])
  })

  it('is what a single value of earlier versions says', () => {
    expect(listen('0.0.0.0:4050')).toEqual([{ host: '0.0.0.0', port: 4050 }])
    expect(listen('localhost:0')).toEqual([{ host: '127.0.0.1', port: 0 }])
  })

  it('is each address of a list once', () => {
    expect(listen(['0.0.0.0:4050', '[::]:4050', '[fd00::1]:4060'])).toEqual([
      { host: '0.0.0.0', port: 4050 },
      { host: '::', port: 4050 },
      { host: 'fd00::1', port: 4060 },
    ])
  })
})
