import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { repositoryText } from '../../../proxy/oci/name.ts'
import { type Address, parsePushName, parseRepository } from '../../../proxy/routes/addressing.ts'

const pushedBlob = `sha256:${'a'.repeat(64)}`
const otherBlob = `sha256:${'b'.repeat(64)}`
const known = new Set(['docker.io', 'ghcr.io', 'registry.example.com:5000', 'localhost:5000'])
const local = {
  registry: 'localhost',
  has: (name: string, reference?: string) =>
    ['mine', 'team/mine'].includes(name) || (name === 'team/begun' && reference === pushedBlob),
  isBegun: (name: string) => ['mine', 'team/mine', 'team/begun'].includes(name),
  isHidden: (name: string) => name === 'team/hidden',
  isHeld: (repository: { registry: string; name: string }) =>
    ['docker.io/held/app', 'docker.io/library/cached'].includes(repositoryText(repository)),
}
const names = { registries: known, local }

const read = (path: string, namespace?: string, host = '127.0.0.1:5050') =>
  parseRepository({ path, namespace, host, port: 5050 }, names)

const push = (path: string, namespace?: string, host = 'localhost:5050') =>
  parsePushName({ path, namespace, host, port: 5050 }, names)

const mayPush = (path: string) => {
  try {
    return push(path) === path
  } catch {
    return false
  }
}

describe('addressing of what is read', () => {
  it.each([
    ['alpine', undefined, 'docker.io', 'library/alpine'],
    ['me/app', undefined, 'docker.io', 'me/app'],
    ['alpine', 'docker.io', 'docker.io', 'library/alpine'],
    ['library/alpine', 'index.docker.io', 'docker.io', 'library/alpine'],
    ['me/app', 'ghcr.io', 'ghcr.io', 'me/app'],
    ['ghcr.io/me/app', undefined, 'ghcr.io', 'me/app'],
    ['docker.io/alpine', undefined, 'docker.io', 'library/alpine'],
    ['registry-1.docker.io/library/alpine', undefined, 'docker.io', 'library/alpine'],
    ['docker.io/library/alpine', 'docker.io', 'docker.io', 'library/alpine'],
    ['app', 'registry.example.com:5000', 'registry.example.com:5000', 'app'],
    ['ghcr.io/me/app', 'docker.io', 'docker.io', 'ghcr.io/me/app'],
    ['docker.io/library/alpine', 'ghcr.io', 'ghcr.io', 'docker.io/library/alpine'],
    ['me/app', 'ghcr.io:443', 'ghcr.io', 'me/app'],
    ['me/app', 'ghcr.io.', 'ghcr.io', 'me/app'],
    ['ghcr.io:443/me/app', undefined, 'ghcr.io', 'me/app'],
    ['GHCR.io./me/app', 'ghcr.io:443', 'ghcr.io', 'me/app'],
    ['docker.io./alpine', undefined, 'docker.io', 'library/alpine'],
    ['registry.example.com:5000/app', undefined, 'registry.example.com:5000', 'app'],
    // The registry of this node, by its name and by its address as containerd and podman give it to a mirror for all.
    ['app', 'localhost', 'localhost', 'app'],
    ['localhost/app', undefined, 'localhost', 'app'],
    ['localhost/library/alpine', undefined, 'localhost', 'library/alpine'],
    ['app', 'localhost:5050', 'localhost', 'app'],
    ['app', '127.0.0.1:5050', 'localhost', 'app'],
    ['app', '[::1]:5050', 'localhost', 'app'],
    ['localhost:5050/app', undefined, 'localhost', 'app'],
    ['mine', 'docker.io', 'docker.io', 'library/mine'],
    // Another registry of this machine, which is on the list.
    ['app', 'localhost:5000', 'localhost:5000', 'app'],
  ])('%s with ns %s is %s %s', (path, namespace, registry, name) => {
    expect(read(path, namespace).repository).toEqual({ registry, name })
  })

  it.each([
    ['mine', '127.0.0.1:5050', 'localhost', 'mine', false],
    ['team/mine', 'laptop:5050', 'localhost', 'team/mine', false],
    ['new', 'localhost:5050', 'localhost', 'new', false],
    ['team/new', 'localhost:5050', 'localhost', 'team/new', false],
    ['team/new', '127.0.0.1:5050', 'docker.io', 'team/new', true],
    ['held/app', 'localhost:5050', 'docker.io', 'held/app', false],
    ['held/app', '127.0.0.1:5050', 'docker.io', 'held/app', false],
    ['library/alpine', 'localhost:5050', 'docker.io', 'library/alpine', false],
    // No mirror is asked for it like that, so that a push may take it.
    ['cached', 'localhost:5050', 'localhost', 'cached', false],
    ['cached', '127.0.0.1:5050', 'docker.io', 'library/cached', true],
    ['team/hidden', 'localhost:5050', 'docker.io', 'team/hidden', false],
    ['team/hidden', '127.0.0.1:5050', 'docker.io', 'team/hidden', false],
    ['team/new', 'LOCALHOST', 'localhost', 'team/new', false],
    ['team/new', 'app.localhost:5050', 'localhost', 'team/new', false],
    // As a list of tags is asked for.
    ['team/begun', '127.0.0.1:5050', 'localhost', 'team/begun', false],
    ['library/alpine', '127.0.0.1:5050', 'docker.io', 'library/alpine', false],
  ])('the bare name %s at %s is %s %s', (path, host, registry, name, mayBeLocal) => {
    expect(read(path, undefined, host)).toMatchObject({ repository: { registry, name }, mayBeLocal })
  })

  it.each([
    ['HEAD', 'team/new', otherBlob, 'localhost'],
    ['HEAD', 'cached', otherBlob, 'localhost'],
    ['HEAD', 'team/new', '1', 'docker.io'],
    ['HEAD', 'held/app', otherBlob, 'docker.io'],
    ['HEAD', 'library/alpine', otherBlob, 'docker.io'],
    ['HEAD', 'docker.io/team/new', otherBlob, 'docker.io'],
    ['HEAD', 'team/begun', '1', 'localhost'],
    ['HEAD', 'team/begun', otherBlob, 'localhost'],
    ['GET', 'team/new', otherBlob, 'docker.io'],
    ['GET', 'team/begun', '1', 'docker.io'],
    ['GET', 'team/begun', otherBlob, 'docker.io'],
    ['GET', 'team/begun', pushedBlob, 'localhost'],
  ])('%s of %s %s, as a mirror, is asked of %s', (method, path, reference, registry) => {
    const address = { path, reference, isHead: method === 'HEAD', host: '127.0.0.1:5050', port: 5050 }
    expect(parseRepository(address, names).repository.registry).toBe(registry)
  })

  it.each(['alpine', 'mine', 'team/mine', 'team/begun', 'held/app'])(
    'of what a push by a bare name would go to: %s at localhost',
    (name) => {
      expect(read(name, undefined, 'localhost:5050').repository.registry === 'localhost').toBe(mayPush(name))
    },
  )

  it('takes the name that was given to the registry of this node for its address', () => {
    const named = { registries: known, local: { ...local, registry: 'registry.team' } }
    for (const [path, host, namespace] of [
      ['team/new', 'registry.team:5050', undefined],
      ['team/new', 'registry.team', undefined],
      ['team/new', '127.0.0.1:5050', 'registry.team:5050'],
    ] as const) {
      const { repository } = parseRepository({ path, host, namespace, port: 5050 }, named)
      expect(repository).toEqual({ registry: 'registry.team', name: 'team/new' })
    }
    const elsewhere = { path: 'team/new', host: '127.0.0.1:5050', namespace: 'registry.team:5051', port: 5050 }
    expect(() => parseRepository(elsewhere, named)).toThrow(expect.objectContaining({ code: 'NAME_UNKNOWN' }))
  })

  it('has no local names where it is a mirror only', () => {
    const mirror = { ...names, isMirrorOnly: true }
    const registryOf = (path: string, host: string) =>
      parseRepository({ path, host, port: 5050 }, mirror).repository.registry
    for (const host of ['localhost:5050', '127.0.0.1:5050'])
      for (const name of ['mine', 'team/new']) expect(registryOf(name, host)).toBe('docker.io')
    for (const path of ['localhost/mine', 'localhost:5050/mine'])
      expect(() => registryOf(path, '127.0.0.1:5050')).toThrow(expect.objectContaining({ code: 'NAME_UNKNOWN' }))
  })

  it('knows another address of this node, where that is the one that was asked', () => {
    expect(read('app', 'team.example:8443', 'team.example:8443').repository).toEqual({
      registry: 'localhost',
      name: 'app',
    })
  })

  it.each([
    ['me/app', 'quay.io', 'NAME_UNKNOWN', 404],
    ['quay.io/me/app', undefined, 'NAME_UNKNOWN', 404],
    ['me/app', 'localhost:5051', 'NAME_UNKNOWN', 404],
    ['me/app', 'http://169.254.169.254', 'NAME_UNKNOWN', 404],
    ['library%2Falpine', undefined, 'NAME_INVALID', 400],
    ['%2e%2e/alpine', undefined, 'NAME_INVALID', 400],
    ['../alpine', undefined, 'NAME_INVALID', 400],
    ['ghcr.io/../alpine', undefined, 'NAME_INVALID', 400],
    ['localhost/../alpine', undefined, 'NAME_INVALID', 400],
    ['ghcr.io/', undefined, 'NAME_INVALID', 400],
    ['Alpine', undefined, 'NAME_INVALID', 400],
  ])('%s with ns %s is refused with %s', (path, namespace, code, status) => {
    expect(() => read(path, namespace)).toThrow(expect.objectContaining({ code, status }))
  })

  it('never gives a registry outside the list', () => {
    const text = fc.option(fc.string(), { nil: undefined })
    fc.assert(
      fc.property(fc.string(), text, text, (path, namespace, host) => {
        const address: Address = { path, namespace, host, port: 5050 }
        try {
          expect([...known, 'localhost']).toContain(parseRepository(address, names).repository.registry)
        } catch (error) {
          expect(['NAME_INVALID', 'NAME_UNKNOWN']).toContain((error as { code: string }).code)
        }
      }),
    )
  })
})

describe('addressing of what is pushed', () => {
  it.each([
    ['app', undefined, 'app'],
    ['alpine', undefined, 'alpine'],
    ['team/app', undefined, 'team/app'],
    ['team/mine', undefined, 'team/mine'],
    ['cached', undefined, 'cached'],
    ['localhost/my.app/web', undefined, 'my.app/web'],
    ['localhost/team/hidden', undefined, 'team/hidden'],
    ['team/app', 'localhost', 'team/app'],
    ['team/app', 'localhost:5050', 'team/app'],
    ['localhost/team/app', undefined, 'team/app'],
    // Said to be this node's own, it is no name of docker.io.
    ['localhost/library/alpine', undefined, 'library/alpine'],
    ['held/app', 'localhost', 'held/app'],
  ])('%s with ns %s is the local %s', (path, namespace, name) => {
    expect(push(path, namespace)).toBe(name)
  })

  it.each([
    ['library/alpine', undefined, 'DENIED', 403],
    ['held/app', undefined, 'DENIED', 403],
    ['team/hidden', undefined, 'DENIED', 403],
    ['my.app/web', undefined, 'NAME_UNKNOWN', 404],
    ['me/app', 'docker.io', 'UNSUPPORTED', 405],
    ['docker.io/me/app', undefined, 'UNSUPPORTED', 405],
    ['ghcr.io/me/app', undefined, 'UNSUPPORTED', 405],
    ['quay.io/me/app', undefined, 'NAME_UNKNOWN', 404],
    ['App', undefined, 'NAME_INVALID', 400],
    ['localhost/', undefined, 'NAME_INVALID', 400],
  ])('%s with ns %s is refused with %s', (path, namespace, code, status) => {
    expect(() => push(path, namespace)).toThrow(expect.objectContaining({ code, status }))
  })

  it('says where a name of docker.io may be pushed', () => {
    expect(() => push('library/alpine', undefined, '127.0.0.1:5050')).toThrow(
      'push to 127.0.0.1:5050/localhost/library/alpine, or choose another name',
    )
    expect(() => push('my.app/web')).toThrow(
      'or name localhost:5050/localhost/my.app/web where it is an image of this node',
    )
  })
})
