import { expect, it } from 'vitest'
import { isContainerEngine } from '../../../proxy/routes/engines.ts'

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
