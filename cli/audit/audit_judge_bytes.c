/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that etcd's bytes decide. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit_judge.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

/* Seeds in use past which a cold start asks the plugin for so many keys. */
enum { MANY_SEEDS = 256 };

AUDIT_JUDGE(audit_judge_class)
{
    uint64_t n[AUDIT_PROTECTIONS];

    if (!a->has_bytes) {
        lh_buf_put_z(b, "etcd's bytes were not read: --etcd or --snapshot proves it");
        return AUDIT_NOT_PROVEN;
    }
    audit_counts(a, "secrets", NULL, n);
    if (n[AUDIT_KMS] + n[AUDIT_LOCAL] + n[AUDIT_NONE] + n[AUDIT_MALFORMED] == 0) {
        lh_buf_put_z(b, "no Secret is stored: write one, and audit again");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b,
                  "Secrets: %" PRIu64 " by a KMS, %" PRIu64 " by a local key, %" PRIu64
                  " in plain text, %" PRIu64 " malformed",
                  n[AUDIT_KMS], n[AUDIT_LOCAL], n[AUDIT_NONE], n[AUDIT_MALFORMED]);
    if (n[AUDIT_NONE])
        return AUDIT_FAIL;
    if (n[AUDIT_MALFORMED] || a->is_damaged)
        return AUDIT_NOT_PROVEN;
    return AUDIT_PASS;
}

/* The hash of the key that any API server says is the current one; NULL: nobody says. */
static const char *current_key(const struct audit *a, const char *provider)
{
    const char *best = NULL, *hash;
    double at, newest = 0;

    for (size_t i = 0; i < a->servers.n; i++) {
        hash = audit_metrics_status(lh_vec_at(&a->servers, i), provider, &at);
        if (hash && (!best || at > newest)) {
            best = hash;
            newest = at;
        }
    }
    return best;
}

static bool is_hash_of(const char *hash, const char *key)
{
    uint8_t digest[LH_HASH_LEN];
    char hex[2 * LH_HASH_LEN + 1];

    if (lh_sha256(key, strlen(key), digest, NULL) < 0)
        return false;
    lh_hex(digest, sizeof(digest), hex);
    return strcmp(hash, hex) == 0 ||
           (strncmp(hash, "sha256:", 7) == 0 && strcmp(hash + 7, hex) == 0);
}

enum freshness { CURRENT, STALE, UNKNOWN };

static enum freshness by_key(const struct audit *a, const struct audit_group *g)
{
    const char *now;

    if (a->proved && strcmp(a->canary.provider, g->provider) == 0 &&
        strcmp(a->canary.name, g->name) == 0)
        return strcmp(a->canary.key, g->key) == 0 ? CURRENT : STALE;
    now = current_key(a, g->name);
    if (!now)
        return UNKNOWN;
    return is_hash_of(now, g->key) ? CURRENT : STALE;
}

static enum freshness freshness_of(const struct audit *a, const struct audit_group *g)
{
    const struct audit_provider *w = audit_writer_of(a, g->resource);
    const char *type = w ? w->type : "identity";

    if (g->protection == AUDIT_MALFORMED)
        return UNKNOWN;
    if (strcmp(type, g->provider) != 0)
        return STALE;
    if (strcmp(type, "identity") == 0)
        return CURRENT;
    if (strcmp(w->name, g->name) != 0)
        return STALE;
    return strcmp(type, "kmsv2") == 0 ? by_key(a, g) : CURRENT;
}

static bool differ(const struct audit_group *x, const struct audit_group *y)
{
    return strcmp(x->provider, y->provider) != 0 || strcmp(x->name, y->name) != 0 ||
           strcmp(x->key, y->key) != 0;
}

/* Without the configuration: two classes of one kind cannot both be the writer's. Groups of a kind
 * stand together, so each is held against the first of them. */
static enum audit_result stale_by_mix(const struct lh_vec *groups, struct lh_buf *b)
{
    const struct audit_group *first = NULL;

    for (size_t i = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);

        if (g->protection == AUDIT_EXTERNAL)
            continue;
        if (!first || strcmp(first->resource, g->resource) != 0) {
            first = g;
        } else if (differ(first, g)) {
            lh_buf_printf(b, "%s are stored in more than one class or under more than one key",
                          g->resource);
            return AUDIT_FAIL;
        }
    }
    lh_buf_put_z(b, "every kind has one class and one key; whether it is the writer's needs "
                    "--config, and for a KMS the API servers' --metrics");
    return AUDIT_NOT_PROVEN;
}

static enum audit_result stale_by_config(const struct audit *a, const struct lh_vec *groups,
                                         struct lh_buf *b)
{
    uint64_t stale = 0, unknown = 0, all = 0, named = 0;
    const char *first = NULL;

    for (size_t i = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);
        enum freshness f = freshness_of(a, g);

        if (g->protection == AUDIT_EXTERNAL)
            continue;
        all += g->count;
        stale += f == STALE ? g->count : 0;
        unknown += f == UNKNOWN ? g->count : 0;
        if (f == STALE && (!first || strcmp(first, g->resource) == 0)) {
            first = g->resource;
            named += g->count;
        }
    }
    if (stale) {
        lh_buf_printf(b,
                      "%" PRIu64 " of %" PRIu64 " objects are in an older class or key, %" PRIu64
                      " of them %s",
                      stale, all, named, first);
        return AUDIT_FAIL;
    }
    if (unknown) {
        lh_buf_printf(b,
                      "of %" PRIu64 " of %" PRIu64 " objects it is not known whether their key is "
                      "the current one: the API servers' --metrics name it",
                      unknown, all);
        return AUDIT_NOT_PROVEN;
    }
    if (a->is_damaged) {
        lh_buf_put_z(b, "what was read is current; objects may be missing");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "all %" PRIu64 " objects are as their writer leaves them", all);
    return AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_stale)
{
    enum audit_result r = AUDIT_NOT_PROVEN;
    struct lh_vec groups;

    if (!a->has_bytes || a->objects == 0) {
        lh_buf_put_z(b, "no stored object was read: --etcd or --snapshot");
        return AUDIT_NOT_PROVEN;
    }
    lh_vec_init(&groups, sizeof(struct audit_group *));
    if (audit_groups(a, &groups, NULL) == 0)
        r = a->has_config ? stale_by_config(a, &groups, b) : stale_by_mix(&groups, b);
    lh_vec_done(&groups);
    return r;
}

AUDIT_JUDGE(audit_judge_seeds)
{
    size_t stored = lh_map_len(a->seeds);
    double cached = 0;
    bool known = false;

    if (!a->has_bytes || a->objects == 0) {
        lh_buf_put_z(b, "no stored object was read: --etcd or --snapshot");
        return AUDIT_NOT_PROVEN;
    }
    for (size_t i = 0; i < a->servers.n; i++) {
        double one = audit_metrics_sum(lh_vec_at(&a->servers, i), AUDIT_METRIC_CACHE, NULL, NULL);

        known |= one > 0;
        cached = one > cached ? one : cached;
    }
    lh_buf_printf(b, "%s%zu data keys wrap what is stored", a->seeds_cut ? "more than " : "",
                  stored);
    if (known)
        lh_buf_printf(b, "; an API server holds %.0f", cached);
    if (stored > MANY_SEEDS || (known && cached > 10 * (double)stored + MANY_SEEDS))
        return AUDIT_FAIL;
    return a->is_damaged ? AUDIT_NOT_PROVEN : AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_configmaps)
{
    enum audit_result r = AUDIT_NOT_PROVEN;

    if (a->has_bytes)
        lh_buf_printf(b, "%" PRIu64 " ConfigMaps hold a private key or a token; ", a->secret_like);
    if (a->pods.read)
        lh_buf_printf(b,
                      "%" PRIu64 " variables of Pods that are named like a secret have a "
                      "literal value; ",
                      a->pods.env_literals);
    if (a->secret_like || a->pods.env_literals)
        r = AUDIT_FAIL;
    else if (a->has_bytes && a->pods.read && a->configmaps_unread == 0 && !a->is_damaged &&
             a->workloads_cut == 0)
        r = AUDIT_PASS;
    if (a->configmaps_unread)
        lh_buf_printf(b, "%" PRIu64 " ConfigMaps are encrypted and were not looked into; ",
                      a->configmaps_unread);
    if (!a->has_bytes)
        lh_buf_put_z(b, "ConfigMaps were not read: --etcd or --snapshot; ");
    if (!a->pods.read)
        lh_buf_put_z(b, "Pods were not read: --kubeconfig; ");
    lh_buf_put_z(b, "custom resources are not judged");
    return r;
}

AUDIT_JUDGE(audit_judge_unused)
{
    if (!a->has_bytes || !a->pods.read) {
        lh_buf_put_z(b, "needs the stored keys (--etcd or --snapshot) and Pods (--kubeconfig)");
        return AUDIT_NOT_PROVEN;
    }
    if (a->workloads_cut) {
        lh_buf_put_z(b, "there are more workloads than are looked at");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "%" PRIu64 " Secrets are used by Pods, %" PRIu64 " by none", a->secrets_used,
                  a->secrets_unused);
    if (a->secrets_unused)
        return AUDIT_FAIL;
    return a->is_damaged ? AUDIT_NOT_PROVEN : AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_read)
{
    if (!a->has_bytes) {
        lh_buf_put_z(b, "nothing here rests on stored bytes: a managed cluster does not show them, "
                        "and no description of it is proof");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "%" PRIu64 " objects read from %s", a->objects,
                  a->source ? a->source : "etcd");
    if (a->objects == 0 || a->is_damaged)
        return AUDIT_NOT_PROVEN;
    return AUDIT_PASS;
}
