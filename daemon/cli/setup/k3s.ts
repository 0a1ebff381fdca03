import { isMap, isSeq, parseDocument, YAMLMap } from 'yaml'
import { Failure } from '../failure.ts'
import { addedBy, type Client, type Plan, type Wish } from './client.ts'

const usualFile = '/etc/rancher/k3s/registries.yaml'

/**
 * k3s (and RKE2, whose file has the same form): `mirrors` in registries.yaml (https://docs.k3s.io/installation/private-registry). Each
 * registry is named, because in some versions registries under "*" are not asked themselves where the mirror fails (k3s issue 11857).
 */
export const k3s: Client = {
  about: 'k3s; RKE2 with --file /etc/rancher/rke2/registries.yaml',
  journal: 'k3s',
  restartAfter: ([path]) =>
    path === usualFile
      ? ['systemctl restart k3s   (on agents: k3s-agent)']
      : ['systemctl restart rke2-server   (on agents: rke2-agent)'],
  plan({ mirror, registries, known, file = usualFile, disk }: Wish): Plan {
    const before = disk.read(file) ?? ''
    const document = parseDocument(before)
    const [error] = document.errors
    if (error !== undefined) throw new Failure(`${file}: ${error.message.split('\n')[0]}; nothing was changed`)
    if (document.contents !== null && !isMap(document.contents)) {
      throw new Failure(`${file} holds no mapping: k3s can't read it; nothing was changed`)
    }
    const url = `http://${mirror}`
    // It does not count for registries that are named.
    const forAll = document.getIn(['mirrors', '*'])
    const notes: string[] = []
    let isChanged = false
    for (const name of registries ?? known) {
      const place = ['mirrors', name]
      const set = document.getIn(place) ?? forAll
      if (isMap(set) && set.has('rewrite')) {
        // It would change the names that the mirror is asked for.
        notes.push(`${set === forAll ? '"*"' : name} has a rewrite in ${file}, and ${name} was left alone`)
        continue
      }
      const isNamed = set !== undefined && set !== forAll
      const endpoints = isMap(set) ? set.get('endpoint') : undefined
      if (endpoints !== undefined && !isSeq(endpoints)) {
        throw new Failure(`${file}: the endpoint of ${name} is no list: k3s can't read it; nothing was changed`)
      }
      const others = isSeq(endpoints) ? (endpoints.toJSON() as unknown[]) : []
      if (others.some((one) => String(one).replace(/\/+$/, '') === url)) continue
      isChanged = true
      if (isNamed && isSeq(endpoints)) endpoints.items.unshift(document.createNode(url))
      else if (isNamed && isMap(set)) set.set('endpoint', [url])
      else {
        if (!isMap(document.get('mirrors'))) document.set('mirrors', new YAMLMap())
        document.setIn(place, document.createNode({ endpoint: [url, ...others] }))
      }
    }
    const text = document.toString({ lineWidth: 0 })
    const edited = before.trim() === '' ? `${addedBy('k3s')}\n${text}` : text
    return {
      edits: isChanged ? [{ path: file, text: edited }] : [],
      notes,
    }
  },
}
