/* SPDX-License-Identifier: Apache-2.0 */
/* What an API server takes and a person regrets. */
#include <stdio.h>
#include <unistd.h>

#include "config_priv.h"

enum { PATH = 128, LONG_TIMEOUT_MS = 10 * 1000 };

struct lint {
    const struct lh_atrest_config *c;
    struct lh_vec *findings;
    struct lh_err *err;
};

#define ADD(l, id, severity, refused, where, ...)                                                  \
    finding_add((l)->findings, (id), (severity), (refused), (where), (l)->err, __VA_ARGS__)

static bool rule_covers(const struct lh_atrest_rule *r, const char *resource)
{
    for (size_t i = 0; i < r->resources.n; i++)
        if (resource_covers(resource_at(r, i), resource))
            return true;
    return false;
}

static int lint_writer(struct lint *l, const struct lh_atrest_rule *r, size_t i)
{
    enum lh_atrest_scheme s = r->providers.n ? provider_at(r, 0)->scheme : LH_ATREST_UNKNOWN;
    char where[PATH];

    snprintf(where, sizeof(where), "resources[%zu].providers[0]", i);
    switch (s) {
    case LH_ATREST_IDENTITY:
        return ADD(l, "IdentityFirst",
                   rule_covers(r, "secrets") ? LH_ATREST_CRITICAL : LH_ATREST_HIGH, ACCEPTED, where,
                   "identity writes: what is stored from now on is clear text");
    case LH_ATREST_AESCBC:
        return ADD(l, "AescbcWrites", LH_ATREST_MEDIUM, ACCEPTED, where,
                   "aescbc is not authenticated and open to padding oracles: use secretbox or kms");
    case LH_ATREST_AESGCM:
        return ADD(l, "AesgcmWrites", LH_ATREST_MEDIUM, ACCEPTED, where,
                   "aesgcm uses random nonces: rotate its key every 200,000 writes, or use "
                   "secretbox or kms");
    case LH_ATREST_KMS_V1:
        return ADD(l, "KmsV1Writes", LH_ATREST_MEDIUM, ACCEPTED, where,
                   "KMS v1 asks the plugin at every write: use v2");
    default:
        return 0;
    }
}

static int lint_kms(struct lint *l, const struct lh_atrest_provider *p, const char *where)
{
    int rc = 0;

    if (p->endpoint && strncmp(p->endpoint, "unix:///@", 9) == 0)
        rc =
            ADD(l, "KmsAbstractSocket", LH_ATREST_HIGH, ACCEPTED, where,
                "an abstract socket has no owner and no mode: any process of the host may take it");
    if (rc == 0 && p->endpoint && strncmp(p->endpoint, "unix:///tmp/", 12) == 0)
        rc = ADD(l, "KmsSocketPlace", LH_ATREST_HIGH, ACCEPTED, where,
                 "anybody may make files in /tmp: put the socket into a folder of root's");
    if (rc == 0 && p->timeout_ms > LONG_TIMEOUT_MS)
        rc = ADD(l, "KmsTimeoutLong", LH_ATREST_MEDIUM, ACCEPTED, where,
                 "requests wait so long for a plugin that is away; 3s is the default");
    return rc;
}

static int lint_providers(struct lint *l, const struct lh_atrest_rule *r, size_t i)
{
    size_t last = r->providers.n ? r->providers.n - 1 : 0;
    char where[PATH];
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < r->providers.n; k++) {
        const struct lh_atrest_provider *p = provider_at(r, k);

        snprintf(where, sizeof(where), "resources[%zu].providers[%zu]", i, k);
        if (scheme_is_kms(p->scheme))
            rc = lint_kms(l, p, where);
        else if (p->scheme == LH_ATREST_AESCBC && k > 0)
            rc = ADD(l, "AescbcReads", LH_ATREST_LOW, ACCEPTED, where,
                     "aescbc is still read, and whoever can write to etcd can forge it: remove it "
                     "once nothing is stored with it");
        else if (p->scheme == LH_ATREST_IDENTITY && k > 0)
            rc = ADD(l, k == last ? "IdentityLast" : "IdentityBetween", LH_ATREST_LOW, ACCEPTED,
                     where,
                     "clear text is still read: remove it once nothing is stored in clear, which "
                     "`leasehold encryption status --etcd` tells");
    }
    return rc;
}

static int same_kms_name(struct lint *l, const struct lh_atrest_provider *p, const char *where,
                         size_t rule, size_t provider)
{
    for (size_t i = 0; i <= rule; i++) {
        const struct lh_atrest_rule *r = rule_at(l->c, i);

        for (size_t k = 0; k < (i == rule ? provider : r->providers.n); k++) {
            const struct lh_atrest_provider *q = provider_at(r, k);

            if (q->scheme != p->scheme || !q->name || !p->name || strcmp(q->name, p->name) != 0)
                continue;
            return ADD(l, "KmsNameTwice", LH_ATREST_CRITICAL, REFUSED, where,
                       "resources[%zu].providers[%zu] has the same name; each KMS v2 provider has "
                       "one of its own, in the whole file",
                       i, k);
        }
    }
    return 0;
}

static int lint_kms_names(struct lint *l, size_t i)
{
    const struct lh_atrest_rule *r = rule_at(l->c, i);
    char where[PATH];
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < r->providers.n; k++) {
        snprintf(where, sizeof(where), "resources[%zu].providers[%zu].kms.name", i, k);
        if (provider_at(r, k)->scheme == LH_ATREST_KMS_V2)
            rc = same_kms_name(l, provider_at(r, k), where, i, k);
    }
    return rc;
}

/* In one list the order does not matter, and no two may overlap. */
static int lint_list(struct lint *l, size_t i, size_t k, const char *where)
{
    const struct lh_atrest_rule *r = rule_at(l->c, i);
    const char *name = resource_at(r, k);

    for (size_t m = 0; m < r->resources.n; m++) {
        const char *other = resource_at(r, m);
        bool same = strcmp(other, name) == 0;

        /* Of two equal ones, the second. */
        if (m != k && resource_covers(other, name) && (!same || m < k))
            return ADD(l, "ResourceMasked", LH_ATREST_CRITICAL, REFUSED, where,
                       "resources[%zu] of the same list covers it: leave one of the two out", m);
    }
    return 0;
}

static int lint_resource(struct lint *l, size_t i, size_t k)
{
    const char *name = resource_at(rule_at(l->c, i), k);
    char where[PATH];

    snprintf(where, sizeof(where), "resources[%zu].resources[%zu]", i, k);
    for (size_t j = 0; j < i; j++) {
        const struct lh_atrest_rule *earlier = rule_at(l->c, j);

        for (size_t m = 0; m < earlier->resources.n; m++) {
            const char *other = resource_at(earlier, m);

            if (!resource_covers(other, name))
                continue;
            if (!resource_is_wildcard(other))
                return ADD(l, "ResourceTwice", LH_ATREST_MEDIUM, ACCEPTED, where,
                           "resources[%zu] names it already and writes it", j);
            return ADD(l, "ResourceMasked", LH_ATREST_CRITICAL, REFUSED, where,
                       "resources[%zu] covers it already: put the narrower rule first", j);
        }
    }
    return lint_list(l, i, k, where);
}

static int lint_file(struct lint *l, const struct stat *st)
{
    bool keys = false;
    int rc = 0;

    for (size_t i = 0; i < l->c->rules.n; i++)
        for (size_t k = 0; k < rule_at(l->c, i)->providers.n; k++)
            keys |= scheme_is_local(provider_at(rule_at(l->c, i), k)->scheme);
    if (!st || !keys)
        return 0;
    if (st->st_mode & 077)
        rc = ADD(l, "FileMode", LH_ATREST_HIGH, ACCEPTED, "",
                 "holds keys and has mode %04o: others may read it; 0600 is right",
                 (unsigned)(st->st_mode & 07777));
    if (rc == 0 && st->st_uid != 0 && st->st_uid != geteuid())
        rc = ADD(l, "FileOwner", LH_ATREST_HIGH, ACCEPTED, "",
                 "holds keys and belongs to uid %u, neither root nor you", (unsigned)st->st_uid);
    return rc;
}

int lh_atrest_config_lint(const struct lh_atrest_config *c, const struct stat *st,
                          struct lh_vec *findings, struct lh_err *err)
{
    struct lint l = {.c = c, .findings = findings, .err = err};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < c->rules.n; i++) {
        rc = lint_writer(&l, rule_at(c, i), i);
        if (rc == 0)
            rc = lint_providers(&l, rule_at(c, i), i);
        if (rc == 0)
            rc = lint_kms_names(&l, i);
        for (size_t k = 0; rc == 0 && k < rule_at(c, i)->resources.n; k++)
            rc = lint_resource(&l, i, k);
    }
    if (rc == 0 && !lh_atrest_config_rule(c, "secrets"))
        rc = ADD(&l, "SecretsNotCovered", LH_ATREST_CRITICAL, ACCEPTED, "resources",
                 "no rule covers secrets: they are stored in clear");
    return rc < 0 ? rc : lint_file(&l, st);
}
