/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/netaddr.h"

#include <arpa/inet.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/str.h"

void lh_ip_from_v4(const void *four_bytes, struct lh_ip *out)
{
    memset(out->b, 0, 10);
    out->b[10] = out->b[11] = 0xff;
    memcpy(out->b + 12, four_bytes, 4);
}

bool lh_ip_parse(const char *text, struct lh_ip *out, bool *v4)
{
    unsigned char four[4], sixteen[16];

    if (inet_pton(AF_INET, text, four) == 1) {
        lh_ip_from_v4(four, out);
        if (v4)
            *v4 = true;
        return true;
    }
    if (inet_pton(AF_INET6, text, sixteen) != 1)
        return false;
    memcpy(out->b, sixteen, sizeof(sixteen));
    if (v4)
        *v4 = false;
    return true;
}

bool lh_net_parse(const char *text, struct lh_net *out)
{
    char addr[64];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    struct lh_ip ip;
    long long bits;
    bool v4;

    if (n >= sizeof(addr))
        return false;
    memcpy(addr, text, n);
    addr[n] = '\0';
    if (!lh_ip_parse(addr, &ip, &v4))
        return false;
    bits = v4 ? 32 : 128;
    if (slash && !lh_str_to_i64(lh_str(slash + 1), 0, bits, &bits))
        return false;
    out->ip = ip;
    out->bits = (unsigned)bits + (v4 ? 96 : 0);
    return true;
}

bool lh_net_has(const struct lh_net *n, const struct lh_ip *ip)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (memcmp(n->ip.b, ip->b, whole) != 0)
        return false;
    return rest == 0 || (n->ip.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

void lh_ip_unwrap(struct lh_ip *ip)
{
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const unsigned char sixto4[2] = {0x20, 0x02};
    static const unsigned char compat[12] = {0};
    unsigned char four[4];
    const unsigned char *b = ip->b;

    bool at_end = memcmp(b, nat64, sizeof(nat64)) == 0 ||
                  (memcmp(b, compat, sizeof(compat)) == 0 && (b[12] || b[13] || b[14]));

    if (!at_end && memcmp(b, sixto4, sizeof(sixto4)) != 0)
        return;
    memcpy(four, at_end ? b + 12 : b + 2, 4);
    lh_ip_from_v4(four, ip);
}

static const struct {
    const char *net, *what;
    bool loopback;
} special[] = {
    {"127.0.0.0/8", "a loopback address", true},
    {"::1/128", "a loopback address", true},
    {"0.0.0.0/8", "an unspecified address", true}, /* Linux connects it to itself */
    {"::/128", "an unspecified address", true},
    {"169.254.0.0/16", "a link-local address, as metadata services have", false},
    {"fe80::/10", "a link-local address", false},
    {"fd00:ec2::/32", "a metadata address", false},
    {"100.100.100.200/32", "a metadata address", false},
    {"168.63.129.16/32", "a metadata address", false},
    {"192.0.0.192/32", "a metadata address", false},
    {"224.0.0.0/4", "a multicast address", false},
    {"ff00::/8", "a multicast address", false},
    {"255.255.255.255/32", "a broadcast address", false},
};

const char *lh_ip_special(const struct lh_ip *ip, bool *loopback)
{
    struct lh_ip end = *ip;
    struct lh_net n;

    lh_ip_unwrap(&end);
    for (size_t i = 0; i < LH_ARRAY_LEN(special); i++) {
        if (!lh_net_parse(special[i].net, &n) || !lh_net_has(&n, &end))
            continue;
        if (loopback)
            *loopback = special[i].loopback;
        return special[i].what;
    }
    return NULL;
}
