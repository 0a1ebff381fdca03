import { expect, it } from 'vitest'
import { isContainerEngine, isOfPush } from '../../../proxy/routes/engines.ts'

it.each([
  'docker/28.5.1 go/go1.24 git-commit/abc kernel/6.1 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.1)',
  'containerd/1.6.20~ds1',
  'containerd/v2.1.9',
  'buildkit/v0.25',
  'libpod/4.3.1',
  'containers/5.36.2 (github.com/containers/image)',
  'Buildah/1.28.2',
  'cri-o/1.34.0 go/go1.24 os/linux arch/amd64',
])('%s runs images', (userAgent) => expect(isContainerEngine(userAgent)).toBe(true))

it.each([
  'Docker-Client/28.5.1 (linux)',
  'skopeo/1.18.0',
  'crane/0.20 go-containerregistry/0.20',
  'oras/1.2',
  'curl/8',
  '',
])('"%s" may be looking at them only', (userAgent) => expect(isContainerEngine(userAgent)).toBe(false))

const index = 'application/vnd.oci.image.index.v1+json'
const image = 'application/vnd.oci.image.manifest.v1+json'

it.each([
  // containerd: pusher.go and resolver.go.
  [`${image}, */*`, 'containerd/2.1.4', true],
  [`${image}, ${index}, */*`, 'containerd/2.1.4', false],
  [`${image},${index}`, 'crane/0.20 go-containerregistry/0.20', true],
  // As Debian builds it, it says no version.
  [`${image},${index}`, 'crane/ go-containerregistry', true],
  [`${image}, ${index}`, 'oras/1.3.0', false],
  [image, 'curl/8.5.0', false],
  ['*/*', 'curl/8.5.0', false],
  ['*/*, */*', 'curl/8.5.0', false],
  ['', '', false],
])('HEAD that accepts "%s", of %s, is of a push: %s', (accept, userAgent, isIt) => {
  expect(isOfPush(accept, userAgent)).toBe(isIt)
})
