import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { repositoryText } from '../../../proxy/oci/name.ts'
import { type Address, parsePushName, parseRepository } from '../../../proxy/routes/addressing.ts'

const known = new Set(['docker.io', 'ghcr.io', 'registry.example.com:5000', 'localhost:5000'])
const local = {
  registry: 'localhost',
  has: (name: string) => ['mine', 'team/mine'].includes(name),
  isHeld: (repository: { registry: string; name: string }) => repositoryText(repository) === 'docker.io/held/app',
}
const names = { registries: known, local }

const read = (path: string, namespace?: string, host = '127.0.0.1:5050') =>
  parseRepository({ path, namespace, host, port: 5050 }, names)

const push = (path: string, namespace?: string, host = 'localhost:5050') =>
  parsePushName({ path, namespace, host, port: 5050 }, names)

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
    ['library/alpine', '127.0.0.1:5050', 'docker.io', 'library/alpine', false],
  ])('the bare name %s at %s is %s %s', (path, host, registry, name, mayBeLocal) => {
    expect(read(path, undefined, host)).toMatchObject({ repository: { registry, name }, mayBeLocal })
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
  })
})
