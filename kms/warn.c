/* SPDX-License-Identifier: Apache-2.0 */
#include "warn.h"

#include <string.h>

#include "leasehold/core/netaddr.h"

static const struct {
    const char *name, *text;
} warnings[] = {
    [KMS_WARN_DELETION] = {"deletion_allowed",
                           "the Transit key may be deleted, and with it everything that is stored "
                           "under it, backups of etcd too: set deletion_allowed to false"},
    [KMS_WARN_EXPORTABLE] = {"exportable",
                             "the Transit key may be exported or backed up in plaintext; that "
                             "cannot be undone: make another key and rotate to it"},
    [KMS_WARN_MIN_DECRYPTION] = {"min_decryption_version",
                                 "the Transit key has versions that decrypt nothing any more: what "
                                 "is stored under them, in etcd or in a backup, cannot be read "
                                 "until min_decryption_version is lowered"},
    [KMS_WARN_UPSERT] = {"upsert",
                         "the Transit mount makes a key when an unknown one is asked to encrypt: "
                         "set disable_upsert at config/keys, or leave create out of the policy"},
    [KMS_WARN_IN_CLUSTER] = {"in_cluster",
                             "the secret manager is reached inside the cluster whose keys it "
                             "wraps: after a full stop neither can start without the other"},
};

const char *kms_warning_name(enum kms_warning w)
{
    return warnings[w].name;
}

const char *kms_warning_text(enum kms_warning w)
{
    return warnings[w].text;
}

unsigned kms_warn_key(const struct lh_transit_key *k)
{
    unsigned bits = 0;

    if (k->deletion_allowed)
        bits |= 1u << KMS_WARN_DELETION;
    if (k->exportable || k->plaintext_backup)
        bits |= 1u << KMS_WARN_EXPORTABLE;
    if (k->min_decryption > 1 || k->min_available > 1)
        bits |= 1u << KMS_WARN_MIN_DECRYPTION;
    return bits;
}

/* "https://host:port" or "https://[v6]:port". */
static struct lh_str host_of(const char *address)
{
    const char *slashes = strstr(address, "://"), *p = slashes ? slashes + 3 : address;

    if (*p == '[')
        return (struct lh_str){p + 1, strcspn(p + 1, "]")};
    return (struct lh_str){p, strcspn(p, ":/")};
}

bool kms_warn_in_cluster(const char *address, const char *const *nets)
{
    static const char *const suffixes[] = {".svc", ".cluster.local", ".svc.", ".cluster.local."};
    struct lh_str host = host_of(address);
    char text[256];
    struct lh_ip ip;
    struct lh_net net;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (lh_str_ends(host, lh_str(suffixes[i])))
            return true;
    }
    if (host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (!lh_ip_parse(text, &ip, NULL))
        return false;
    for (; nets && *nets; nets++) {
        if (lh_net_parse(*nets, &net) && lh_net_has(&net, &ip))
            return true;
    }
    return false;
}
