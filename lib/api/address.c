/* SPDX-License-Identifier: Apache-2.0 */
/* Manager addresses: their form, and which of them could reach into a node or a cloud's metadata
 * service. */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

/* One form for both families: IPv4 as ::ffff:a.b.c.d, so that a mapped address is no disguise. */
struct net {
    unsigned char a[16];
    unsigned bits;
};

struct host {
    char text[256]; /* without brackets */
    bool bracketed;
};

static void map_v4(const unsigned char v4[4], unsigned char out[16])
{
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, v4, 4);
}

/* NAT64 and 6to4 carry an IPv4 address that is where the packet ends. */
static void unwrap(unsigned char a[16])
{
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const unsigned char sixto4[2] = {0x20, 0x02};
    static const unsigned char compat[12] = {0};
    unsigned char v4[4];

    if (memcmp(a, nat64, sizeof(nat64)) == 0)
        memcpy(v4, a + 12, 4);
    else if (memcmp(a, sixto4, sizeof(sixto4)) == 0)
        memcpy(v4, a + 2, 4);
    else if (memcmp(a, compat, sizeof(compat)) == 0 && (a[12] || a[13] || a[14]))
        memcpy(v4, a + 12, 4);
    else
        return;
    map_v4(v4, a);
}

static bool ip_parse(const char *text, unsigned char out[16], bool *is_v4)
{
    unsigned char v4[4];

    if (inet_pton(AF_INET, text, v4) == 1) {
        map_v4(v4, out);
        *is_v4 = true;
        return true;
    }
    *is_v4 = false;
    if (inet_pton(AF_INET6, text, out) != 1)
        return false;
    return true;
}

static bool net_parse(const char *text, struct net *out)
{
    char addr[64];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    long long bits;
    bool v4;

    if (n >= sizeof(addr))
        return false;
    memcpy(addr, text, n);
    addr[n] = 0;
    if (!ip_parse(addr, out->a, &v4))
        return false;
    bits = v4 ? 32 : 128;
    if (slash && !lh_str_to_i64(lh_str(slash + 1), 0, bits, &bits))
        return false;
    out->bits = (unsigned)bits + (v4 ? 96 : 0);
    return true;
}

static bool net_has(const struct net *n, const unsigned char a[16])
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (memcmp(n->a, a, whole) != 0)
        return false;
    if (!rest)
        return true;
    return (n->a[whole] ^ a[whole]) >> (8 - rest) == 0;
}

/* Refused unless the platform lists them. */
static const struct {
    const char *cidr, *what;
    bool loopback;
} refused[] = {
    {"127.0.0.0/8", "a loopback address", true},
    {"::1/128", "a loopback address", true},
    {"0.0.0.0/8", "an unspecified address", true},
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

static int malformed(struct lh_err *err, const char *why)
{
    lh_err_fill(err, LH_E_INVALID, "%s", why);
    return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, LH_REASON_StoreInvalid));
}

static int port_check(const char *colon, struct lh_err *err)
{
    long long port;

    if (*colon && (*colon != ':' || !lh_str_to_i64(lh_str(colon + 1), 1, 65535, &port)))
        return malformed(err, "has something other than a port behind the host; write "
                              "https://host:port, without a path");
    return 0;
}

static int host_of(const char *url, struct host *out, struct lh_err *err)
{
    const char *p, *end;
    size_t n;

    if (strncasecmp(url, "http://", 7) == 0)
        return malformed(err, "is plain http; a manager is spoken to over https only");
    if (strncmp(url, "https://", 8) != 0)
        return malformed(err, "must begin with https://");
    p = url + 8;
    if (strpbrk(p, "/?#@\\% \t"))
        return malformed(err, "must be https://host[:port] and nothing more: no path, no user");
    out->bracketed = *p == '[';
    end = out->bracketed ? strchr(p, ']') : strchrnul(p, ':');
    if (!end)
        return malformed(err, "has [ without ]");
    p += out->bracketed;
    n = (size_t)(end - p);
    if (!n || n >= sizeof(out->text))
        return malformed(err, n ? "has a host name of more than 253 characters" : "has no host");
    memcpy(out->text, p, n);
    out->text[n] = 0;
    return port_check(end + out->bracketed, err);
}

/* "2130706433", "0x7f.1" and "127.1" are addresses to a C library's resolver, and none to a reader.
 * DNS has no top-level name that begins with a digit. */
static bool is_disguised_v4(const char *host)
{
    const char *last = strrchr(host, '.');
    size_t n = strlen(host);
    unsigned char v4[4];

    if (inet_pton(AF_INET, host, v4) == 1)
        return false;
    if (n && host[n - 1] == '.')
        return isdigit((unsigned char)host[0]) && strspn(host, "0123456789.xXabcdefABCDEF") == n;
    last = last ? last + 1 : host;
    return isdigit((unsigned char)*last);
}

static int host_check(const struct host *h, struct lh_err *err)
{
    unsigned char a[16];
    char lower[256];
    size_t n = strlen(h->text);
    bool v4;

    if (h->bracketed) {
        if (!ip_parse(h->text, a, &v4) || v4)
            return malformed(err, "has no IPv6 address between [ and ]");
        return 0;
    }
    if (is_disguised_v4(h->text))
        return malformed(err, "has a number for a host that is no dotted address");
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)tolower((unsigned char)h->text[i]);
    if (n && lower[n - 1] == '.')
        n--;
    if (!lh_str_is_dns_subdomain((struct lh_str){lower, n}))
        return malformed(err, "has a host that is neither a DNS name nor an IP address");
    return 0;
}

int lh_address_check(const char *url, struct lh_err *err)
{
    struct host h;
    int rc;

    rc = host_of(url, &h, err);
    return rc < 0 ? rc : host_check(&h, err);
}

static bool listed(const char *const *cidrs, const unsigned char a[16])
{
    struct net n;

    for (size_t i = 0; cidrs && cidrs[i]; i++) {
        if (net_parse(cidrs[i], &n) && net_has(&n, a))
            return true;
    }
    return false;
}

static int deny(struct lh_err *err, const char *host, const char *what)
{
    lh_err_fill(err, LH_E_DENIED,
                "\"%s\" is %s; it is refused unless the platform lists it in policy.addresses",
                host, what);
    return lh_err_negative(lh_err_reason(err, -LH_E_DENIED, LH_REASON_AddressNotAllowed));
}

/* Names that mean an address whatever a resolver says. */
static const char *name_means(const char *host, bool *loopback)
{
    static const char *const metadata[] = {"metadata.google.internal", "metadata", "instance-data",
                                           "instance-data.ec2.internal"};
    char bare[256];
    size_t n = strlen(host);

    memcpy(bare, host, n + 1);
    while (n && bare[n - 1] == '.')
        bare[--n] = 0;
    *loopback = strcasecmp(bare, "localhost") == 0 ||
                (n > 10 && strcasecmp(bare + n - 10, ".localhost") == 0) ||
                strcasecmp(bare, "ip6-localhost") == 0 || strcasecmp(bare, "ip6-loopback") == 0 ||
                strcasecmp(bare, "localhost.localdomain") == 0;
    if (*loopback)
        return "127.0.0.1";
    for (size_t i = 0; i < LH_ARRAY_LEN(metadata); i++) {
        if (strcasecmp(bare, metadata[i]) == 0)
            return "169.254.169.254";
    }
    return NULL;
}

int lh_allow_address(const char *url, const char *const *allowed_cidrs, bool allow_loopback,
                     struct lh_err *err)
{
    unsigned char a[16];
    bool v4, loopback = false;
    const char *means;
    struct net n;
    struct host h;
    int rc;

    rc = host_of(url, &h, err);
    if (rc < 0)
        return rc;
    rc = host_check(&h, err);
    if (rc < 0)
        return rc;
    means = name_means(h.text, &loopback);
    if (!ip_parse(means ? means : h.text, a, &v4))
        return 0; /* a name: looked at again once it is resolved */
    unwrap(a);
    if (listed(allowed_cidrs, a))
        return 0;
    for (size_t i = 0; i < LH_ARRAY_LEN(refused); i++) {
        if (!net_parse(refused[i].cidr, &n) || !net_has(&n, a))
            continue;
        if (refused[i].loopback && allow_loopback)
            return 0;
        return deny(err, h.text,
                    means && !loopback ? "a metadata service's name" : refused[i].what);
    }
    return 0;
}

int lh_cidr_check(const char *text, struct lh_err *err)
{
    struct net n;

    if (!net_parse(text, &n)) {
        lh_err_fill(err, LH_E_INVALID, "must be a network such as 10.0.0.0/8 or fd00::/8");
        return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, LH_REASON_ConfigInvalid));
    }
    return 0;
}
