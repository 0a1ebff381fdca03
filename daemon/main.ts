import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config, ListenAddress } from '../config/schema.ts'
import { RegistryList } from '../proxy/known-registries.ts'
import type { Digest } from '../proxy/oci/digest.ts'
import { Readers } from '../proxy/readers.ts'
import { listen } from '../proxy/server.ts'
import { createUpstream } from '../proxy/upstream/client.ts'
import { OwnPorts } from '../proxy/upstream/guard.ts'
import { createAdminApp } from './admin/app.ts'
import { Metrics } from './admin/metrics.ts'
import { swarmNotReady } from './admin/readiness.ts'
import { openControl } from './control/open.ts'
import { nodeOperations } from './control/operations.ts'
import { openDataFolder } from './data-folder.ts'
import { AccessControl } from './fetch/access.ts'
import { Fetcher } from './fetch/fetcher.ts'
import { manifestKeeper } from './fetch/keep-manifest.ts'
import { Lists, withReferrers } from './fetch/lists.ts'
import { PeerTags, tagTrust } from './fetch/peer-tags.ts'
import { Publicity } from './fetch/publicity.ts'
import { Tags } from './fetch/tags.ts'
import { applyRules, keepHouse } from './housekeeping.ts'
import { KeptCheckpoints } from './kept-checkpoints.ts'
import { Lifecycle } from './lifecycle.ts'
import { withoutOwn } from './names/no-registry.ts'
import { offeredPlaces, openNames, openSharedRegistry } from './names/open.ts'
import { openStore } from './open-store.ts'
import { portsOf } from './own-ports.ts'
import { openRegistryServers } from './registry-servers.ts'
import { createRules } from './rules.ts'
import { lonelySharing } from './share/lonely.ts'
import { Sharing } from './share/sharing.ts'
import { ListSigner } from './share/signed-list.ts'
import { sharedContent } from './shared-content.ts'
import { announcements, sharingPolicy } from './sharing.ts'
import { Signer } from './signature.ts'
import { noteLending, noteUnshared } from './start-notices.ts'
import { watchInterfaces } from './swarm/discovery/interfaces.ts'
import { keepIdentity, loadIdentity, peerIdOf } from './swarm/identity.ts'
import type { Swarm } from './swarm/ports.ts'
import { createSwarm } from './swarm/swarm.ts'
import { Uncached } from './uncached.ts'
import { loadEngine } from './verify/sha256.ts'

/** A node that runs. */
export interface Node {
  /** `host:port` of its servers, as they are really listened on. */
  readonly addresses: {
    readonly registry: string
    /** Where the mirror asks for a login, if it does anywhere. */
    readonly login: string | undefined
    readonly admin: string
    readonly transfer: string
  }
  /** Lets running responses finish within the configured time, then ends everything. */
  stop(): Promise<void>
}

/** How long the admin server may take to finish its responses, in ms. */
const adminShutdownTimeout = 1_000

/** The composition root: configuration -> store -> swarm -> proxy -> servers. @throws Error for a person to read */
export async function startNode(config: Config, logger: Logger, version: string): Promise<Node> {
  const started = Date.now()
  const lifecycle = new Lifecycle()
  try {
    await openDataFolder(config.dataDir, logger)
    const metrics = new Metrics()
    const isClosed = config.swarm.swarmKey !== undefined || config.swarm.allowedPeers.length > 0
    const rules = createRules(config)
    // What was pushed is known once the store is open.
    let pushedTo = (_: Digest): readonly string[] => []
    const told = sharingPolicy(rules, isClosed, (digest) => pushedTo(digest))
    if (!isClosed) noteUnshared(config, rules, logger)

    // The store tells the swarm what it holds, and the swarm serves from the store: one of them must come first.
    let announcer: Pick<Swarm, 'advertise' | 'withdraw'> | undefined
    const { store, metadata } = await openStore({
      config,
      events: announcements(told, () => announcer),
      logger,
    })
    lifecycle.onStop(() => metadata.close())
    lifecycle.onStop(() => store.close())
    await applyRules(rules, { store, metadata })

    const engine = await loadEngine(config.verify.engine, (reason) =>
      logger.info({ reason }, 'chunks are verified by the portable SHA-256, which is slower than the native one'),
    )
    lifecycle.onStop(() => engine.close())
    const checkpoints = new KeptCheckpoints(store, engine)
    lifecycle.onStop(() => checkpoints.stop())
    const { allowedPeers } = config.swarm
    const keyFile = join(config.dataDir, 'key')
    const privateKey = await loadIdentity(keyFile, { allowedPeers, log: logger })
    const self = peerIdOf(privateKey)
    /** Whose word on tags may count; all where nobody is named. */
    const signers = allowedPeers.length === 0 ? [] : [...allowedPeers, self]
    const signer = new Signer(privateKey, self)
    const published = await openNames({ config, isClosed, metadata, signer, rules, swarm: () => swarm, logger })
    // The swarm serves what is being fetched, and fetching needs the swarm.
    let fetcher: Fetcher | undefined
    const shared = sharedContent({
      store,
      metadata,
      checkpoints,
      downloads: () => fetcher?.downloads,
      isClosed,
      told,
      rules,
      signer,
    })
    const swarm: Swarm = createSwarm({
      config: config.swarm,
      privateKey,
      dataDir: config.dataDir,
      content: shared,
      held: async function* () {
        for (const digest of store.digests()) {
          const record = store.record(digest)
          if (record !== undefined && told(record, digest) !== undefined) yield digest
        }
      },
      onServed: (bytes) => metrics.served('peer', bytes),
      names: published.names,
      log: logger,
    })
    const sharing = new Sharing({
      swarm,
      content: shared,
      site: config.swarm.site,
      isOpen: !isClosed,
      onMoved: (direction, bytes, isFar) =>
        direction === 'in' ? metrics.fetched(isFar ? 'far' : 'peer', bytes) : metrics.served('peer', bytes),
    })
    swarm.listen(sharing)
    const announcing: Pick<Swarm, 'advertise' | 'withdraw'> = {
      advertise: (...blob) => swarm.advertise(...blob),
      withdraw: async (digest) => void (await Promise.all([swarm.withdraw(digest), sharing.withdraw(digest)])),
    }
    announcer = announcing

    const { upstream: settings } = config
    const known = new RegistryList(config.registries, settings.anyRegistry)
    const { dockerConfig } = settings
    const ownPorts = new OwnPorts()
    const registriesOf = createUpstream({ registries: known, settings, dockerConfig, version, logger, ownPorts })
    const upstream = withoutOwn(registriesOf, published.registry)
    lifecycle.onStop(() => upstream.close())
    lifecycle.onStop(watchInterfaces(() => upstream.networkChanged()))
    const { patience } = config.tags
    const identityKey = await metadata.value('identity-key', () => randomBytes(32).toString('hex'))
    const asking = { ...config.access, metadata, upstream, patience }
    const publicity = new Publicity({ ...asking, rules, isClosed, now: Date.now })
    const access = new AccessControl({ ...asking, publicity, ownRegistry: published.registry, identityKey })
    const lonely = lonelySharing(self)
    lifecycle.onStop(() => lonely.stop())
    const uncached = new Uncached({ onUncached: (reason) => metrics.uncached(reason), logger })
    const onUncached = uncached.note.bind(uncached)
    const content = new Fetcher({
      store,
      metadata,
      swarm,
      sharing,
      lonely,
      signer: new ListSigner(privateKey, self),
      upstream,
      access,
      publicity,
      engine,
      rules,
      isShared: (record, digest) => told(record, digest) !== undefined,
      isClosed,
      lookupTimeout: config.swarm.lookupTimeout,
      patience,
      completion: {
        rate: config.store.completeRate,
        limit: config.store.completeLimit,
        rightsLast: config.access.freshFor,
      },
      onFetched: (origin, bytes) => metrics.fetched(origin, bytes),
      onVerified: (bytes) => metrics.verified(bytes),
      onWasted: (reason, bytes) => metrics.wasted(reason, bytes),
      onUncached,
      logger,
    })
    fetcher = content
    const keep = manifestKeeper(store, onUncached)
    const tags = new Tags({
      metadata,
      peers: new PeerTags({ swarm, signers, logger, now: Date.now }),
      sharing,
      upstream,
      access,
      publicity,
      rules,
      patience,
      trust: tagTrust(config.tags.trustPeers, isClosed),
      logger,
      keep,
    })

    const lists = new Lists({ upstream, content, tags, metadata, store, access, rules, keep, patience })
    const { prune, managed, ...registries } = await openSharedRegistry({
      open: published,
      store,
      metadata,
      engine,
      upstream: { content, tags: withReferrers(tags), lists },
      announcer: announcing,
      told,
      onOpen: (records) => {
        pushedTo = (digest) => offeredPlaces(published, records.placesOf(digest))
      },
    })

    await swarm.start()
    lifecycle.onStop(() => swarm.stop())
    lifecycle.onStop(() => sharing.stop())
    lifecycle.onStop(() => content.close())
    lifecycle.inBackground(
      (signal) =>
        keepHouse(
          { config, metadata, store, metrics, logger, onLook: () => keepIdentity(keyFile, privateKey), onPrune: prune },
          signal,
        ),
      (error) => logger.error({ err: error }, 'the background check of blobs has ended'),
    )

    /** Of the servers for clients, as soon as they listen. */
    let listening: { readonly registry?: string; readonly login?: string } = {}
    const notReady = () => {
      if (lifecycle.isStopping) return 'the node is stopping'
      if (listening.registry === undefined) return 'the node is starting'
      return store.usage.problem ?? swarmNotReady(swarm.status(), config.admin.minPeers)
    }
    const status = () => ({
      version,
      uptimeSeconds: Math.round((Date.now() - started) / 1000),
      registry: listening.registry,
      login: listening.login,
      notReady: notReady(),
      ...swarm.status(),
      names: published.names.status(),
      store: { ...store.usage, uncachedBlobs: metrics.uncachedBlobs, lastUncached: uncached.last },
      counters: metrics.totals,
    })
    metrics.observe({
      store: () => store.usage,
      swarm: () => swarm.status(),
      flights: () => content.flights,
      provisionalBytes: () => content.downloads.provisionalBytes,
    })
    const { hosts } = config.registry
    const names = (listener: ListenAddress) => ({ listen: listener.host, hosts })
    const adminApp = createAdminApp({ metrics, status, notReady, names: names(config.admin.listen) })
    const admin = await listen(adminApp.callback(), { ...config.admin.listen, option: 'admin.listen' })
    lifecycle.onStop(() => admin.stop(adminShutdownTimeout))

    const port = () => Number(listening.registry?.split(':').at(-1) ?? 0)
    const parts = { ...registries, ...managed, registries: known, store, metadata, port }
    const operations = { ...nodeOperations(parts), ...published.operations }
    await openControl({ config, operations, version, lifecycle, logger })

    await openRegistryServers({
      config: config.registry,
      lifecycle,
      names,
      app: {
        ...registries,
        registries: known,
        push: config.registry.push,
        lendCredentials: config.registry.lendCredentials,
        readers: new Readers(),
        onRequest: (outcome) => {
          metrics.request(outcome.status, outcome.source, outcome.ms)
          logger.info(outcome, 'request')
        },
        onError: (error, path) => logger.error({ err: error, path }, 'request failed'),
        onServed: (bytes) => metrics.served('client', bytes),
      },
      onListening: (address) => {
        listening = { ...listening, ...address }
      },
    })

    await noteLending(config, logger)
    const { peerId, transfer, multiaddrs } = swarm.status()
    const { registry = '', login } = listening
    const addresses = { registry, login, admin: admin.address, transfer }
    for (const port of portsOf(Object.values(addresses), multiaddrs)) ownPorts.add(port)
    logger.info({ ...addresses, peerId, dataDir: config.dataDir, ms: Date.now() - started }, 'ready')
    return { addresses, stop: () => lifecycle.stop() }
  } catch (error) {
    await lifecycle.stop()
    throw error
  }
}
