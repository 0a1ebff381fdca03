import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import type { Dispatcher } from 'undici'
import { isPublicAddress, isPublicName } from '../public-hosts.ts'
import { WayError } from './errors.ts'

const why = 'and it is asked only because upstream.anyRegistry is on'

/**
 * Refuses to connect to addresses that are not public. As it decides on the address that is connected to, a name that
 * resolves to another one the second time (DNS rebinding) gains nothing.
 * @param lookup what resolves names
 */
export function publicLookup(lookup: LookupFunction = systemLookup as LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found : []
      const [first, ...others] = addresses.filter(({ address }) => isPublicAddress(address))
      if (error !== null) callback(error, [])
      else if (first === undefined) {
        const message = `${hostname} has no public address (${addresses.map(({ address }) => address).join(', ')}), ${why}`
        callback(new WayError(message, { mayPass: false }), [])
      } else if (options.all === true) callback(null, [first, ...others])
      else callback(null, first.address, first.family)
    })
  }
}

/** Refuses hosts that are neither registered names nor public addresses; no name is looked up for an address. */
export const publicHostsOnly: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const { hostname, protocol } = new URL(String(options.origin))
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const isPublic = isIP(host) === 0 ? isPublicName(host) : isPublicAddress(host)
  if (isPublic && protocol === 'https:') return dispatch(options, handler)
  const message = isPublic ? `it is asked by https only, ${why}` : `${host} is no public host, ${why}`
  // As undici does it where a request can't even begin: there is no controller then.
  handler.onResponseError?.(null as unknown as Dispatcher.DispatchController, new WayError(message, { mayPass: false }))
  return true
}
