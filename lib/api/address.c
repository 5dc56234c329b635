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
#include "leasehold/core/netaddr.h"

struct host {
    char text[256]; /* without brackets */
    bool bracketed;
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
    size_t n = strlen(h->text);
    struct lh_ip ip;
    char lower[256];
    bool v4;

    if (h->bracketed) {
        if (!lh_ip_parse(h->text, &ip, &v4) || v4)
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

static bool listed(const char *const *cidrs, const struct lh_ip *ip)
{
    struct lh_net n;

    for (size_t i = 0; cidrs && cidrs[i]; i++) {
        if (lh_net_parse(cidrs[i], &n) && lh_net_has(&n, ip))
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
    bool named = false, loopback = false;
    const char *means, *what;
    struct lh_ip ip;
    struct host h;
    int rc;

    rc = host_of(url, &h, err);
    if (rc < 0)
        return rc;
    rc = host_check(&h, err);
    if (rc < 0)
        return rc;
    means = name_means(h.text, &named);
    if (!lh_ip_parse(means ? means : h.text, &ip, NULL))
        return 0; /* a name: looked at again once it is resolved */
    lh_ip_unwrap(&ip);
    what = lh_ip_special(&ip, &loopback);
    if (!what || listed(allowed_cidrs, &ip) || (loopback && allow_loopback))
        return 0;
    return deny(err, h.text, means && !named ? "a metadata service's name" : what);
}

int lh_cidr_check(const char *text, struct lh_err *err)
{
    struct lh_net n;

    if (!lh_net_parse(text, &n)) {
        lh_err_fill(err, LH_E_INVALID, "must be a network such as 10.0.0.0/8 or fd00::/8");
        return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, LH_REASON_ConfigInvalid));
    }
    return 0;
}
