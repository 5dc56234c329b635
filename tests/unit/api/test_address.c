/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"

static const struct form {
    const char *name;
    const char *url;
    const char *says; /* NULL: fine */
} forms[] = {
    {"a name", "https://vault.example", NULL},
    {"a name and a port", "https://vault.example:8200", NULL},
    {"a short name", "https://vault:8200", NULL},
    {"upper case", "https://Vault.Example", NULL},
    {"a dot at the end", "https://vault.example.:8200", NULL},
    {"IPv4", "https://10.1.2.3:8200", NULL},
    {"IPv6", "https://[fd00::1]:8200", NULL},
    {"plain http", "http://vault.example", "plain http"},
    {"upper-case http", "HTTP://vault.example", "plain http"},
    {"no scheme", "vault.example:8200", "https://"},
    {"another scheme", "ftp://vault.example", "https://"},
    {"a path", "https://vault.example/v1", "no path"},
    {"only a slash behind", "https://vault.example/", "no path"},
    {"a user", "https://root@vault.example", "no user"},
    {"a query", "https://vault.example?x", "no path"},
    {"a backslash", "https://vault.example\\@evil", "no path"},
    {"no host", "https://", "no host"},
    {"no host but a port", "https://:8200", "no host"},
    {"port 0", "https://vault:0", "port"},
    {"port 65536", "https://vault:65536", "port"},
    {"no port behind the colon", "https://vault:", "port"},
    {"IPv6 without brackets", "https://fd00::1", "port"},
    {"IPv6 that never ends", "https://[fd00::1", "]"},
    {"IPv4 in brackets", "https://[10.1.2.3]", "IPv6"},
    {"a zone", "https://[fe80::1%25eth0]", "no path"},
    {"a number", "https://2130706433", "number"},
    {"a hexadecimal number", "https://0x7f000001", "number"},
    {"a short address", "https://127.1", "number"},
    {"octal parts", "https://0177.0.0.1", "number"},
    {"a number and a dot", "https://2130706433.", "number"},
    {"underscores", "https://va_ult", "DNS name"},
};

static void form_is_judged(void **state)
{
    const struct form *r = *state;
    struct lh_err err = {0};
    int rc = lh_address_check(r->url, &err);

    assert_int_equal(rc, r->says ? -LH_E_INVALID : 0);
    if (r->says)
        assert_says(err, r->says);
}

static const struct allow {
    const char *name;
    const char *url;
    const char *listed; /* one CIDR, or NULL */
    bool loopback;      /* the caller accepts it */
    bool ok;
} allows[] = {
    {"a name", "https://vault.example", NULL, false, true},
    {"a private address", "https://10.0.0.1", NULL, false, true},
    {"a private IPv6 address", "https://[fd12::1]", NULL, false, true},
    {"loopback", "https://127.0.0.1:8200", NULL, false, false},
    {"loopback of another number", "https://127.9.9.9", NULL, false, false},
    {"IPv6 loopback", "https://[::1]", NULL, false, false},
    {"localhost", "https://localhost:8200", NULL, false, false},
    {"LOCALHOST.", "https://LOCALHOST.", NULL, false, false},
    {"a name below localhost", "https://vault.localhost", NULL, false, false},
    {"mapped loopback", "https://[::ffff:127.0.0.1]", NULL, false, false},
    {"NAT64 loopback", "https://[64:ff9b::7f00:1]", NULL, false, false},
    {"6to4 metadata", "https://[2002:a9fe:a9fe::1]", NULL, false, false},
    {"IPv4-compatible loopback", "https://[::7f00:1]", NULL, false, false},
    {"unspecified", "https://0.0.0.0", NULL, false, false},
    {"IPv6 unspecified", "https://[::]", NULL, false, false},
    {"metadata", "https://169.254.169.254", NULL, false, false},
    {"mapped metadata", "https://[::ffff:a9fe:a9fe]", NULL, false, false},
    {"link-local IPv6", "https://[fe80::1]", NULL, false, false},
    {"metadata of IPv6", "https://[fd00:ec2::254]", NULL, false, false},
    {"metadata of another cloud", "https://100.100.100.200", NULL, false, false},
    {"metadata by name", "https://metadata.google.internal", NULL, false, false},
    {"multicast", "https://224.0.0.1", NULL, false, false},
    {"loopback where it is accepted", "https://127.0.0.1", NULL, true, true},
    {"localhost where loopback is accepted", "https://localhost", NULL, true, true},
    {"IPv6 loopback where it is accepted", "https://[::1]", NULL, true, true},
    {"metadata where loopback is accepted", "https://169.254.169.254", NULL, true, false},
    {"listed loopback", "https://127.0.0.1", "127.0.0.0/8", false, true},
    {"listed single address", "https://169.254.10.1", "169.254.10.1", false, true},
    {"beside the listed network", "https://169.254.11.1", "169.254.10.0/24", false, false},
    {"listed odd bits", "https://169.254.10.129", "169.254.10.128/25", false, true},
    {"beside odd bits", "https://169.254.10.127", "169.254.10.128/25", false, false},
    {"listed IPv6", "https://[fe80::7]", "fe80::/64", false, true},
    {"mapped form of what is listed", "https://[::ffff:127.0.0.1]", "127.0.0.0/8", false, true},
    {"localhost by its network", "https://localhost", "127.0.0.0/8", false, true},
};

static void address_is_allowed(void **state)
{
    const struct allow *r = *state;
    const char *listed[] = {r->listed, NULL};
    struct lh_err err = {0};
    int rc = lh_allow_address(r->url, listed, r->loopback, &err);

    assert_int_equal(rc, r->ok ? 0 : -LH_E_DENIED);
    if (!r->ok)
        assert_string_equal(err.reason, LH_REASON_AddressNotAllowed);
}

static const struct cidr {
    const char *name; /* the text */
    bool ok;
} cidrs[] = {
    {"10.0.0.0/8", true},   {"0.0.0.0/0", true},  {"::/0", true},
    {"fd00::/128", true},   {"10.0.0.1", true},   {"10.0.0.0/33", false},
    {"10.0.0.0/-1", false}, {"10.0.0/8", false},  {"fd00::/129", false},
    {"10.0.0.0/", false},   {"", false},          {"vault", false},
    {"10.0.0.0/8x", false}, {"[::1]/128", false},
};

static void cidr_is_judged(void **state)
{
    const struct cidr *r = *state;

    assert_int_equal(lh_cidr_check(r->name, NULL), r->ok ? 0 : -LH_E_INVALID);
}

int main(void)
{
    ROWS(form_is_judged, forms);
    ROWS(address_is_allowed, allows);
    ROWS(cidr_is_judged, cidrs);
    return rows_run("address");
}
