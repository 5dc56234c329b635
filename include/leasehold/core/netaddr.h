/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_NETADDR_H
#define LEASEHOLD_CORE_NETADDR_H

/*
 * IP addresses and networks as values, and which addresses lead into the node itself or to a
 * cloud's metadata service. One form for both families, IPv4 as ::ffff:a.b.c.d, so that a mapped
 * address is no disguise. No resolving, no sockets.
 */
#include <stdbool.h>

struct lh_ip {
    unsigned char b[16];
};

struct lh_net {
    struct lh_ip ip;
    unsigned bits;
};

/* Dotted IPv4 or IPv6 text. v4 (may be NULL) says which. */
bool lh_ip_parse(const char *text, struct lh_ip *out, bool *v4);
void lh_ip_from_v4(const void *four_bytes, struct lh_ip *out);
/* "10.0.0.0/8", "fd00::/8" or a single address. */
bool lh_net_parse(const char *text, struct lh_net *out);
bool lh_net_has(const struct lh_net *n, const struct lh_ip *ip);

/* NAT64, 6to4 and IPv4-compatible addresses become the IPv4 address at which the packet ends. */
void lh_ip_unwrap(struct lh_ip *ip);

/* "a loopback address", "a link-local address..." for what is refused unless it is listed; NULL for
 * an ordinary address. Unwraps first. */
const char *lh_ip_special(const struct lh_ip *ip, bool *loopback);

#endif
