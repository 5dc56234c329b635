/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

#include "leasehold/core/mem.h"

/* A store names few mounts; past this the oldest answer is asked for again when it is needed. */
#define MOUNTS_MAX 64

static bool holds(struct lh_str mount, struct lh_str path)
{
    while (mount.n && mount.p[mount.n - 1] == '/')
        mount.n--;
    return mount.n > 0 && path.n > mount.n && path.p[mount.n] == '/' &&
           memcmp(path.p, mount.p, mount.n) == 0;
}

struct lh_vault_mount *lh_vault_mounts_find(const struct lh_provider *p, const char *path)
{
    struct lh_vault_mount *best = NULL;

    for (size_t i = 0; i < p->n_mounts; i++) {
        struct lh_vault_mount *m = &p->mounts[i];

        if (holds(lh_str(m->path), lh_str(path)) && (!best || strlen(m->path) > strlen(best->path)))
            best = m;
    }
    return best;
}

void lh_vault_mounts_forget(struct lh_provider *p, const struct lh_vault_mount *m)
{
    size_t i = (size_t)(m - p->mounts);

    lh_free(p->mounts[i].path);
    memmove(&p->mounts[i], &p->mounts[i + 1], (p->n_mounts - i - 1) * sizeof(*p->mounts));
    p->n_mounts--;
}

int lh_vault_mounts_put(struct lh_provider *p, const struct lh_vault_mount_fact *fact,
                        struct lh_vault_mount **out, struct lh_err *err)
{
    struct lh_vault_mount m = {.kv = fact->kv, .kv2 = fact->kv2, .learned_at = lh_clock_now()};
    struct lh_vault_mount *grown;

    m.path = lh_str_dup(fact->path);
    if (!m.path)
        return lh_err_nomem(err);
    for (size_t i = 0; i < p->n_mounts; i++)
        if (strcmp(p->mounts[i].path, m.path) == 0) {
            lh_vault_mounts_forget(p, &p->mounts[i]);
            break;
        }
    if (p->n_mounts >= MOUNTS_MAX)
        lh_vault_mounts_forget(p, &p->mounts[0]);
    grown = lh_realloc(p->mounts, (p->n_mounts + 1) * sizeof(*grown));
    if (!grown) {
        lh_free(m.path);
        return lh_err_nomem(err);
    }
    p->mounts = grown;
    p->mounts[p->n_mounts] = m;
    *out = &p->mounts[p->n_mounts++];
    return 0;
}

void lh_vault_mounts_done(struct lh_provider *p)
{
    while (p->n_mounts)
        lh_vault_mounts_forget(p, &p->mounts[p->n_mounts - 1]);
    lh_free(p->mounts);
    p->mounts = NULL;
}

const char *lh_vault_mounts_listed(const struct lh_provider *p, const char *path)
{
    const char *best = NULL;

    for (char **m = p->store->vault.kv2_mounts; m && *m; m++)
        if (holds(lh_str(*m), lh_str(path)) && (!best || strlen(*m) > strlen(best)))
            best = *m;
    return best;
}

bool lh_vault_mounts_join(struct lh_provider_op *op, const char *listed, lh_timer_fn resume)
{
    struct lh_provider *p = op->p;

    for (struct lh_provider_op *o = p->ops; o; o = o->next) {
        if (o->asks != listed)
            continue;
        /* Without a timer it asks for itself: more work, no harm. */
        if (!p->wake && lh_timer_new(p->loop, resume, p, &p->wake, NULL) < 0)
            return false;
        op->awaits = listed;
        return true;
    }
    return false;
}

void lh_vault_mounts_wake(struct lh_provider_op *op, const struct lh_err *err, bool hidden)
{
    const char *listed = op->asks;
    bool any = false;

    op->asks = NULL;
    for (struct lh_provider_op *o = op->p->ops; listed && o; o = o->next) {
        if (o->awaits != listed)
            continue;
        o->awaits = NULL;
        o->woken = true;
        o->hidden = hidden;
        if (err)
            o->refused = *err;
        any = true;
    }
    if (any)
        lh_timer_in(op->p->wake, 0);
}

struct lh_provider_op *lh_vault_mounts_next(struct lh_provider *p)
{
    struct lh_provider_op *next = NULL;

    for (struct lh_provider_op *o = p->ops; o; o = o->next) {
        if (!o->woken)
            continue;
        if (next) {
            lh_timer_in(p->wake, 0);
            break;
        }
        next = o;
    }
    if (next)
        next->woken = false;
    return next;
}
