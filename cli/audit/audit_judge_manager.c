/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that the manager's key and the API's roles decide. */
#include <stdio.h>
#include <string.h>

#include "audit_judge.h"
#include "leasehold/core/mem.h"

/* Subjects beyond Kubernetes' own: an operator or two, and people. */
enum { FEW = 5, SHOWN = 5 };

/* Negative: it has not looked yet, or cannot. */
static double warning_of(const struct audit_plugin *p, const char *warning)
{
    for (size_t i = 0; i < p->metrics.series.n; i++) {
        const struct audit_series *s = lh_vec_at(&p->metrics.series, i);

        if (s->metric == AUDIT_METRIC_WARNING && strcmp(s->a, warning) == 0)
            return s->value;
    }
    return -1;
}

bool audit_plugins_warn(const struct audit *a, const char *warning)
{
    for (size_t i = 0; i < a->plugins.n; i++) {
        if (warning_of(lh_vec_at(&a->plugins, i), warning) > 0)
            return true;
    }
    return false;
}

bool audit_plugins_told(const struct audit *a, const char *warning)
{
    for (size_t i = 0; i < a->plugins.n; i++) {
        if (warning_of(lh_vec_at(&a->plugins, i), warning) < 0)
            return false;
    }
    return a->plugins.n > 0;
}

/* A plugin that nothing is stored under may be another cluster's. */
static bool is_used(const struct audit *a, const struct audit_plugin *p)
{
    struct lh_str key;
    size_t it = 0;
    void *one;

    if (a->proved && strcmp(a->canary.key, p->key) == 0)
        return true;
    while (*p->key && lh_map_next(a->groups, &it, &key, &one)) {
        if (strcmp(((const struct audit_group *)one)->key, p->key) == 0)
            return true;
    }
    return false;
}

AUDIT_JUDGE(audit_judge_transit)
{
    /* Where the manager runs is P16's. */
    static const char *const warnings[] = {"deletion_allowed", "exportable",
                                           "min_decryption_version", "upsert"};
    size_t warned = 0, unused = 0;

    if (a->plugins.n == 0) {
        lh_buf_put_z(b, "the manager was not asked: --kms names the port of leasehold-kms, which "
                        "has asked it");
        return AUDIT_NOT_PROVEN;
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(warnings); i++) {
        if (audit_plugins_warn(a, warnings[i]))
            lh_buf_printf(b, "%s%s", warned++ ? ", " : "leasehold-kms warns of ", warnings[i]);
    }
    if (warned)
        return AUDIT_FAIL;
    for (size_t i = 0; i < a->plugins.n; i++)
        unused += !is_used(a, lh_vec_at(&a->plugins, i));
    if (!audit_plugins_told(a, "deletion_allowed")) {
        lh_buf_put_z(b, "a plugin has not seen a manager's key: it is in a file, or the manager "
                        "has not answered yet");
        return AUDIT_NOT_PROVEN;
    }
    if (unused) {
        lh_buf_printf(b,
                      "under the keys of %zu of %zu plugins nothing was seen in etcd: whether they "
                      "are this cluster's is not known",
                      unused, a->plugins.n);
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "%zu plugins, which ask the manager, warn of nothing", a->plugins.n);
    return AUDIT_PASS;
}

static void put_subjects(const struct audit *a, const struct lh_map *m, struct lh_buf *b)
{
    struct lh_str key;
    char room[256], name[900];
    size_t it = 0, n = 0;
    void *one;

    while (n < SHOWN && lh_map_next(m, &it, &key, &one)) {
        snprintf(name, sizeof(name), "%.*s", (int)key.n, key.p);
        lh_buf_printf(b, "%s%s", n++ ? ", " : ": ", audit_shown(a, name, room));
    }
    if (lh_map_len(m) > SHOWN)
        lh_buf_printf(b, " and %zu more", lh_map_len(m) - SHOWN);
}

AUDIT_JUDGE(audit_judge_rbac)
{
    const struct audit_rights *r = &a->rights;
    size_t all = lh_map_len(r->all), exec = lh_map_len(r->exec);

    if (!r->read) {
        lh_buf_put_z(b, "roles were not read: --kubeconfig, and the right to list them");
        return AUDIT_NOT_PROVEN;
    }
    if (r->everybody)
        lh_buf_put_z(b, "everybody who is let in may read Secrets; ");
    lh_buf_printf(b, "beside Kubernetes' own, %zu may read every Secret", all);
    put_subjects(a, r->all, b);
    lh_buf_printf(b, "; %zu those of a namespace; %zu may run programs in every Pod",
                  lh_map_len(r->some), exec);
    if (r->everybody || all > FEW || exec > FEW)
        return AUDIT_FAIL;
    return r->cut ? AUDIT_NOT_PROVEN : AUDIT_PASS;
}
