import { join } from 'node:path'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { formatAddress } from '../../config/units.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { ANNOUNCE_PROTOCOL } from './announce/constants.ts'
import { PeerPublisher } from './announce/peer-publisher.ts'
import type { Bans } from './bans.ts'
import { Clones } from './clones.ts'
import { SHARE_PROTOCOL } from './coordination/constants.ts'
import { PeerCoordination } from './coordination/coordination.ts'
import { SwarmDatastore } from './datastore.ts'
import { parseSeed } from './discovery/addresses.ts'
import { Discovery } from './discovery/discovery.ts'
import { FindClient } from './find/client.ts'
import { FIND_PROTOCOL } from './find/constants.ts'
import { createAdmission, createGater } from './gater.ts'
import { Handshakes } from './handshakes.ts'
import { Heard } from './heard.ts'
import { FINDING_PROTOCOL } from './hello/constants.ts'
import { KnownPeers } from './known-peers.ts'
import { createLimits } from './limits/limits.ts'
import { usableBindings } from './listening.ts'
import { NAMES_PROTOCOL } from './names/constants.ts'
import { NameExchange } from './names/exchange.ts'
import { createNode, startNode } from './node.ts'
import type { SwarmOptions } from './options.ts'
import type { PeerId, ShareListener } from './ports.ts'
import { serveProtocols } from './protocols.ts'
import { Advertiser } from './router/advertiser.ts'
import { RecordStore } from './router/record-store.ts'
import { ProviderRecords } from './router/records.ts'
import type { Reputation } from './router/reputation.ts'
import { ROUTE_PROTOCOL } from './routing/constants.ts'
import { Routing } from './routing/routing.ts'
import { shortestRtt } from './rtt.ts'
import type { Parts } from './running.ts'
import { Shutdown } from './shutdown.ts'
import { loadSwarmKey } from './swarm-key.ts'
import { createCertificate } from './transfer/certificate.ts'
import { transferDeadlines } from './transfer/constants.ts'
import { OwnPort } from './transfer/own-port.ts'
import { Places } from './transfer/places.ts'
import { createClientContext } from './transfer/pool.ts'
import { Reach } from './transfer/reach.ts'
import { Transfers } from './transfer/transfers.ts'

/**
 * Starts everything in order: files, transfer server, libp2p, discovery, announcing. What was started is stopped again where
 * a later step fails.
 */
export async function startParts(
  options: SwarmOptions,
  listener: ShareListener,
  bans: Bans,
  reputation: Reputation,
  ban: (peer: PeerId, reason: string) => void,
): Promise<Parts> {
  const shutdown = new Shutdown(options.log)
  try {
    return await assemble(options, listener, bans, reputation, ban, shutdown)
  } catch (error) {
    await shutdown.run()
    throw error
  }
}

async function assemble(
  options: SwarmOptions,
  listener: ShareListener,
  bans: Bans,
  reputation: Reputation,
  ban: (peer: PeerId, reason: string) => void,
  shutdown: Shutdown,
): Promise<Parts> {
  const { config, privateKey, dataDir, held, log, deadlines = transferDeadlines } = options
  const seeds = config.seeds.map(parseSeed)
  const swarmKey = config.swarmKey === undefined ? undefined : await loadSwarmKey(config.swarmKey)
  const keyFile = join(dataDir, 'key')
  const certificate = await createCertificate()
  const self = peerIdFromPrivateKey(privateKey).toString()
  const admission = createAdmission(self, config.allowedPeers, bans)
  const admits = (peer: PeerId) => admission.allows(peer)
  const reach = new Reach({
    context: createClientContext(certificate),
    connectMs: deadlines.connect,
    onChange: (peer, isOpen) => {
      if (isOpen) coordination.joined(peer)
      else coordination.passOver(peer)
      listener.joined(peer)
      ownPort.changed(peer)
    },
    find: (peer, signal) => places.find(peer, signal),
    onMoved: (peer, place) => known.move(peer, place),
    log,
  })
  shutdown.add('reach', () => reach.stop())
  /** Whether blobs can be had of a peer. */
  const canGive = (peer: PeerId) => admits(peer) && reach.isOpen(peer)
  const known = new KnownPeers(admits, (peer) => {
    const address = known.get(peer)
    if (address !== undefined) reach.met(address)
    if (!isLarge()) find.prepare(peer)
    routing.ready(peer)
    if (reach.isOpen(peer)) coordination.joined(peer)
    advertiser.connected(peer)
    listener.joined(peer)
    names.joined(peer)
    ownPort.met(peer)
  })

  const datastore = new SwarmDatastore(join(dataDir, 'dht'))
  await datastore.open()
  shutdown.add('DHT records', () => datastore.close())

  const limits = createLimits(config.maxConnections, swarmKey === undefined && config.allowedPeers.length === 0, ban)
  const heard = new Heard()
  const transfers = new Transfers({
    ...options,
    certificate,
    limits: limits.peers,
    known,
    listener,
    heard,
    deadlines,
    locate: async (peer, signal) => {
      if (!admits(peer)) throw new Error('it is banned or not allowed')
      await routing.connect(peer, signal)
      return await known.waitFor(peer, signal)
    },
    onUnreached: (peer) => {
      discovery.check(peer)
      reach.suspect(peer)
    },
    onBroken: (peer) => reputation.failed(peer),
  })
  const { client, links } = transfers
  const port = await transfers.server.start(config.transferListen)
  shutdown.add('transfer server', () => transfers.server.stop())

  const clones = new Clones({ self, keyFile, onOwn: (address) => discovery.foundSelf(address), log })
  const handshakes = new Handshakes({
    self,
    hasKey: swarmKey !== undefined,
    onSelf: (met) => clones.met(met),
    log,
  })
  const gater = createGater({ ...admission, allowsDial: (peer) => !routing.denies(peer) }, limits.inbound)
  const isLarge = () => routing.isLarge
  const listen = await usableBindings(config.listen, 'swarm.listen', log)
  const node = await createNode({
    config,
    listen,
    privateKey,
    datastore,
    swarmKey,
    gater,
    handshakes,
    limits,
    isLarge,
    log,
  })
  shutdown.add('libp2p', async () => node.stop())
  shutdown.add('handshakes', () => {
    handshakes.stop()
    clones.stop()
  })
  const recordStore = new RecordStore({ db: datastore.db, self })
  datastore.records = recordStore
  const records = new ProviderRecords(node, recordStore)
  const shared = new Set<Digest>()
  const openStream = (protocol: string) => async (peer: PeerId, signal: AbortSignal) =>
    await node.dialProtocol(peerIdFromString(peer), protocol, { signal })
  /** Where not only answers come. */
  const openWatched = (protocol: string) => async (peer: PeerId, signal: AbortSignal) =>
    limits.streams.watched(await openStream(protocol)(peer, signal), peer)
  const routing = new Routing({
    node,
    privateKey,
    maxConnections: config.maxConnections,
    known,
    links,
    listener,
    records,
    announced: recordStore,
    admits,
    canGive,
    isSeed: (peer) => discovery.isSeed(peer),
    shared,
    openStream: openWatched(ROUTE_PROTOCOL),
    onChange: () => {
      coordination.forgetNearest()
      publisher.refresh()
    },
    log,
  })
  await routing.start()
  shutdown.add('routing', () => routing.stop())
  const discovery = new Discovery({
    node,
    dials: limits.dials,
    seeds,
    admits,
    neighbourhood: routing.neighbourhood,
    problemAt: (address, since) => handshakes.problemAt(address, since),
    heard,
    onDead: (peer) => transfers.cut(peer),
    log,
  })

  shutdown.add('transfer client', () => client.stop())
  shutdown.add('links', () => links.stop())

  const find = new FindClient({ openStream: openStream(FIND_PROTOCOL), log })
  const coordination = new PeerCoordination({
    self,
    listener,
    records,
    find,
    routing,
    admits: canGive,
    // Peers ask on it as well.
    openStream: openWatched(SHARE_PROTOCOL),
  })
  const ownPort = new OwnPort({
    known,
    reach,
    openStream: openStream(FINDING_PROTOCOL),
    onPassedOver: (isPassedOver) => (isPassedOver ? coordination.passOver(self) : coordination.joined(self)),
    log,
  })
  const names = new NameExchange({ ...options, openStream: openWatched(NAMES_PROTOCOL), limits: limits.peers })
  shutdown.add('names', () => names.stop())
  const publisher = new PeerPublisher({ openStream: openStream(ANNOUNCE_PROTOCOL), shared, isLarge, log })
  const advertiser = new Advertiser({ records, shared, peers: publisher, routed: routing.publisher, held, log })

  const stopped = new AbortController()
  shutdown.add('hello', () => stopped.abort())
  const hello = { port, fingerprint: certificate.fingerprint, site: config.site, transfer: config.transferAnnounce }
  const places = new Places(certificate, deadlines.connect)
  const answering = { records, recordStore, ownPort, coordination, names }
  await serveProtocols({ ...answering, node, hello, known, places, log, signal: stopped.signal })
  node.addEventListener('peer:connect', ({ detail }) => {
    reputation.forgive(detail.toString())
  })
  node.addEventListener('peer:disconnect', ({ detail }) => {
    const peer = detail.toString()
    const isThere = routing.disconnected(peer)
    known.delete(peer)
    reach.left(peer)
    ownPort.left(peer)
    client.release(peer)
    find.forget(peer)
    coordination.left(peer)
    advertiser.disconnected(peer)
    names.left(peer)
    if (!isThere) listener.left(peer)
  })
  await startNode(node, listen)
  shutdown.add('discovery', () => discovery.stop())
  await discovery.start()
  shutdown.add('announcing', () => advertiser.stop())
  advertiser.start()

  return {
    node,
    discovery,
    clones,
    ownPort,
    admission,
    known,
    reach,
    routing,
    client,
    find,
    records,
    advertiser,
    links,
    coordination,
    names,
    transferAddress: config.transferListen.map(({ host }) => formatAddress({ host, port })).join(', '),
    rttOf: (peer) => shortestRtt(node.getConnections(peerIdFromString(peer))),
    cut: (peer) => {
      transfers.end(peer)
      coordination.left(peer)
      // Not `hangUp`, which waits for the peer while its messages are still read.
      for (const connection of node.getConnections(peerIdFromString(peer)))
        connection.abort(new Error('this node ended the connection'))
    },
    stop: () => shutdown.run(),
  }
}
