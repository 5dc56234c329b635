/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that the EncryptionConfiguration and the files beside it decide. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit_judge.h"
#include "leasehold/core/mem.h"

#define DAY_MS ((int64_t)24 * 3600 * 1000)

enum { MAX_KEY_DAYS = 90 };

static enum audit_result no_config(struct lh_buf *b)
{
    lh_buf_put_z(b, "the EncryptionConfiguration was not read: --config");
    return AUDIT_NOT_PROVEN;
}

static bool is(const struct audit_provider *p, const char *type)
{
    return p && strcmp(p->type, type) == 0;
}

AUDIT_JUDGE(audit_judge_covered)
{
    if (!a->has_config) {
        if (a->pods.read && a->pods.encryption_absent) {
            lh_buf_put_z(b, "an API server runs without --encryption-provider-config");
            return AUDIT_FAIL;
        }
        return no_config(b);
    }
    if (!audit_rule_of(a, "secrets")) {
        lh_buf_put_z(b, "no rule names secrets, \"*.\" or \"*.*\"");
        return AUDIT_FAIL;
    }
    lh_buf_put_z(b, "a rule covers Secrets");
    if (a->pods.read && a->pods.encryption_absent) {
        lh_buf_put_z(b, ", but an API server runs without --encryption-provider-config");
        return AUDIT_FAIL;
    }
    return AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_identity_first)
{
    const struct audit_provider *w = audit_writer_of(a, "secrets");

    if (a->proved && a->canary.protection == AUDIT_NONE) {
        lh_buf_put_z(b, "a Secret that was written now was stored in plain text");
        return AUDIT_FAIL;
    }
    if (a->proved && (a->canary.protection == AUDIT_KMS || a->canary.protection == AUDIT_LOCAL)) {
        lh_buf_printf(b, "a Secret that was written now was stored by %s", a->canary.provider);
        return AUDIT_PASS;
    }
    if (!a->has_config && audit_metrics_written(a, "identity") > 0) {
        lh_buf_put_z(b, "API servers have written Secrets in plain text since they started");
        return AUDIT_FAIL;
    }
    if (!a->has_config)
        return no_config(b);
    if (!w) {
        lh_buf_put_z(b, "no rule covers Secrets, which is as good as identity");
        return AUDIT_FAIL;
    }
    lh_buf_printf(b, "Secrets are written by %s", w->type);
    return is(w, "identity") ? AUDIT_FAIL : AUDIT_PASS;
}

/* Objects of any kind that meet this rule, of one protection. */
static uint64_t count_under(const struct audit *a, const struct audit_rule *r,
                            enum audit_protection protection)
{
    struct lh_str key;
    uint64_t n = 0;
    size_t it = 0;
    void *one;

    while (lh_map_next(a->groups, &it, &key, &one)) {
        const struct audit_group *g = one;

        if (g->protection == protection && audit_rule_of(a, g->resource) == r)
            n += g->count;
    }
    return n;
}

static bool lists_identity(const struct audit_rule *r)
{
    for (size_t i = 0; i < r->providers.n; i++) {
        if (is(lh_vec_at(&r->providers, i), "identity"))
            return true;
    }
    return false;
}

/* Whoever takes identity away while something needs it loses that: when in doubt, no advice. */
AUDIT_JUDGE(audit_judge_identity_last)
{
    const struct audit_rule *r = audit_rule_of(a, "secrets");
    uint64_t plain;

    if (!a->has_config)
        return no_config(b);
    if (!r || is(audit_writer_of(a, "secrets"), "identity")) {
        lh_buf_put_z(b, "identity writes Secrets: another provider has to come first");
        return AUDIT_FAIL;
    }
    plain = count_under(a, r, AUDIT_NONE);
    if (!lists_identity(r)) {
        if (plain == 0) {
            lh_buf_put_z(b, "identity is no longer a provider of Secrets");
            return AUDIT_PASS;
        }
        lh_buf_printf(b,
                      "identity is gone, and %" PRIu64 " objects in plain text need it: an API "
                      "server cannot read them",
                      plain);
        return AUDIT_FAIL;
    }
    if (plain) {
        lh_buf_printf(b, "identity is still listed, and %" PRIu64 " objects in plain text need it",
                      plain);
        return AUDIT_PASS;
    }
    if (!a->has_bytes || a->is_damaged || count_under(a, r, AUDIT_MALFORMED)) {
        lh_buf_put_z(b, "identity is still listed; whether it is needed only all of etcd's bytes "
                        "tell");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_put_z(b, "identity is still listed, and nothing needs it");
    return AUDIT_FAIL;
}

static enum audit_result weak_by_metrics(const struct audit *a, struct lh_buf *b)
{
    static const char *const weak[] = {"aescbc", "aesgcm"};

    for (size_t i = 0; i < LH_ARRAY_LEN(weak); i++) {
        double n = audit_metrics_written(a, weak[i]);

        if (n > 0) {
            lh_buf_printf(b, "%s has written %.0f Secrets since the API servers started", weak[i],
                          n);
            return AUDIT_FAIL;
        }
    }
    return no_config(b);
}

AUDIT_JUDGE(audit_judge_weak)
{
    const struct audit_provider *w = audit_writer_of(a, "secrets");

    if (!a->has_config)
        return weak_by_metrics(a, b);
    if (!is(w, "aescbc") && !is(w, "aesgcm")) {
        lh_buf_printf(b, "Secrets are written by %s", w ? w->type : "no provider");
        return AUDIT_PASS;
    }
    lh_buf_printf(b, "Secrets are written by %s", w->type);
    if (is(w, "aesgcm"))
        lh_buf_put_z(b, ", whose key must change every 200,000 writes");
    if (a->servers.n)
        lh_buf_printf(b, "; %.0f writes since the API servers started",
                      audit_metrics_written(a, w->type));
    return AUDIT_FAIL;
}

AUDIT_JUDGE(audit_judge_kms1)
{
    struct lh_str key;
    size_t it = 0;
    uint64_t stored = 0;
    void *one;

    for (size_t i = 0; i < a->rules.n; i++) {
        const struct audit_rule *r = lh_vec_at(&a->rules, i);

        for (size_t k = 0; k < r->providers.n; k++) {
            if (is(lh_vec_at(&r->providers, k), "kmsv1")) {
                lh_buf_put_z(b, "the configuration has a provider of KMS v1 (apiVersion left out "
                                "means v1)");
                return AUDIT_FAIL;
            }
        }
    }
    while (lh_map_next(a->groups, &it, &key, &one)) {
        const struct audit_group *g = one;

        stored += strcmp(g->provider, "kmsv1") == 0 ? g->count : 0;
    }
    if (stored) {
        lh_buf_printf(b, "%" PRIu64 " objects are stored by KMS v1", stored);
        return AUDIT_FAIL;
    }
    if (audit_metrics_written(a, "kmsv1") > 0) {
        lh_buf_put_z(b, "API servers have written Secrets by KMS v1 since they started");
        return AUDIT_FAIL;
    }
    if (!a->has_config || !a->has_bytes || a->is_damaged) {
        lh_buf_put_z(b, "needs both the configuration and all of etcd's bytes");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_put_z(b, "neither configured nor stored");
    return AUDIT_PASS;
}

/* Of the version that the plugins advertise, as their manager dates it. */
static enum audit_result kms_key_age(const struct audit *a, struct lh_buf *b)
{
    int64_t oldest = INT64_MAX, days;

    for (size_t i = 0; i < a->plugins.n; i++) {
        const struct audit_plugin *p = lh_vec_at(&a->plugins, i);

        if (p->created_s < oldest)
            oldest = p->created_s;
    }
    if (a->plugins.n == 0 || oldest <= 0) {
        lh_buf_put_z(b, "a KMS key's age is known to its manager alone, and to leasehold-kms: "
                        "--kms names its port");
        return AUDIT_NOT_PROVEN;
    }
    days = (a->now_ms - oldest * 1000) / DAY_MS;
    lh_buf_printf(b, "the manager made the key's version %" PRId64 " days ago", days);
    return days > MAX_KEY_DAYS ? AUDIT_FAIL : AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_key_age)
{
    const struct audit_provider *w = audit_writer_of(a, "secrets");
    int64_t days = (a->now_ms - a->config.changed_ms) / DAY_MS;

    if (!w || is(w, "identity")) {
        lh_buf_put_z(b, a->has_config ? "there is no key" : "the configuration was not read");
        return AUDIT_NOT_PROVEN;
    }
    if (strncmp(w->type, "kms", 3) == 0)
        return kms_key_age(a, b);
    if (!a->config.found) {
        lh_buf_put_z(b, "when the configuration last changed is not known");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "the configuration, and with it the key, last changed %" PRId64 " days ago",
                  days);
    if (days > MAX_KEY_DAYS)
        return AUDIT_FAIL;
    lh_buf_put_z(b, "; a change of the file is no proof of a change of the key");
    return AUDIT_NOT_PROVEN;
}

AUDIT_JUDGE(audit_judge_files)
{
    enum audit_result r = AUDIT_PASS;

    if (a->config_in_configmap) {
        lh_buf_printf(b, "%" PRIu64 " ConfigMaps hold an EncryptionConfiguration with keys; ",
                      a->config_in_configmap);
        r = AUDIT_FAIL;
    }
    if (!a->config.found) {
        lh_buf_put_z(b, "the configuration's file was not looked at: --config");
        return r == AUDIT_FAIL ? r : AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "mode of the configuration is %04o, its owner uid %u", a->config.mode & 07777,
                  a->config.uid);
    if ((a->config.mode & 077) || a->config.uid != 0)
        r = AUDIT_FAIL;
    if (a->config.dir_mode & 022) {
        lh_buf_printf(b, "; others may write its folder (%04o)", a->config.dir_mode & 07777);
        r = AUDIT_FAIL;
    }
    if (!a->has_bytes || a->configmaps_unread)
        lh_buf_put_z(b, "; ConfigMaps were not searched for copies");
    return r;
}

static enum audit_result judge_socket(const struct audit_file *s, struct lh_buf *b)
{
    if (s->is_abstract) {
        lh_buf_printf(b, "%s is abstract: it has no owner and no mode", s->path);
        return AUDIT_FAIL;
    }
    if (!s->found) {
        lh_buf_printf(b, "%s is not on this machine", s->path);
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "%s: mode %04o, uid %u, folder %04o", s->path, s->mode & 07777, s->uid,
                  s->dir_mode & 07777);
    if (!s->is_socket) {
        lh_buf_put_z(b, ": it is no socket");
        return AUDIT_FAIL;
    }
    /* Whoever may write the folder may put a socket of his own there, sticky bit or not. */
    return (s->mode & 077) || (s->dir_mode & 022) || s->uid != 0 ? AUDIT_FAIL : AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_sockets)
{
    enum audit_result r = AUDIT_PASS, one;

    if (!a->has_config)
        return no_config(b);
    if (a->sockets.n == 0) {
        lh_buf_put_z(b, "no KMS provider is configured");
        return AUDIT_PASS;
    }
    for (size_t i = 0; i < a->sockets.n; i++) {
        lh_buf_put_z(b, i ? "; " : "");
        one = judge_socket(lh_vec_at(&a->sockets, i), b);
        if (one == AUDIT_FAIL || r == AUDIT_PASS)
            r = one;
    }
    return r;
}
