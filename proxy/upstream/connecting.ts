/**
 * How many addresses of a host are tried within the time that a connection may take: one by each of IPv6 and IPv4, and one more. With more,
 * each gets less time, and a host far away answers at none of them.
 */
const addressesTried = 3

/** The least time that an address gets, in ms: what Node gives it where nothing is set. */
const shortestAttempt = 250

/**
 * How sockets connect. Node goes on to the next address of a host after 250 ms and never comes back to one: where the round trip takes
 * longer, only the last address could ever answer, and that may be one of IPv6 on a machine without a route for it. A lost first packet
 * is sent again after 1 s (RFC 6298, 2), which the usual time for an address leaves room for.
 * @param timeout until a connection stands, in ms
 */
export function connecting(timeout: number) {
  const attempt = Math.max(shortestAttempt, Math.floor(timeout / addressesTried))
  return { timeout, allowH2: false, autoSelectFamilyAttemptTimeout: attempt }
}
