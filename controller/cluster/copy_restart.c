/* SPDX-License-Identifier: Apache-2.0 */
/* What a copy's workloads are to be started with: a hash over its values without a lease. */
#include <stdio.h>
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { TEXT_MAX = 64 * 1024 };

static bool names_workloads(const struct copy *c)
{
    return copy_is_wanted(c) && lh_json_len(lh_json_get(c->spec->p->on_change, "restart")) > 0;
}

static void put_file(const struct copy *c, const char *path, struct lh_buf *b)
{
    for (size_t i = 0; i < c->written.n; i++) {
        if (strcmp(c->written.v[i].path, path) != 0)
            continue;
        lh_buf_put(b, path, strlen(path) + 1);
        lh_buf_put(b, c->written.v[i].hash, COPY_HASH_LEN);
    }
}

/* "" where nothing counts. */
static int hash_of(const struct copy *c, char out[RESTART_HASH_LEN + 1], bool *leased,
                   struct lh_err *err)
{
    const struct lh_secret *key = c->set->term.hash_key;
    struct lh_engine_item it;
    uint8_t whole[LH_HASH_LEN];
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    for (size_t i = 0; lh_engine_item(c->cur->engine, i, &it); i++) {
        *leased = *leased || it.leased;
        for (size_t k = 0; !it.leased && k < it.n_files; k++)
            put_file(c, it.files[k].path, &b);
    }
    rc = lh_buf_check(&b, err);
    out[0] = '\0';
    if (rc < 0 || lh_buf_peek(&b).n == 0)
        return rc;
    rc = lh_hmac_sha256(lh_secret_expose_const(key), lh_secret_len(key), lh_buf_peek(&b).p,
                        lh_buf_peek(&b).n, whole, err);
    if (rc == 0)
        lh_hex(whole, RESTART_HASH_LEN / 2, out);
    return rc;
}

static void forget(struct copy *c)
{
    if (c->workloads)
        lh_free(c->workloads->message);
    lh_free(c->workloads);
    c->workloads = NULL;
}

void copy_restart_stop(struct copy *c)
{
    if (c->restarts_told && c->set->term.restarts)
        restarts_drop(c->set->term.restarts, c->namespace_, c->name);
    c->restarts_told = false;
    forget(c);
}

void copy_restart_step(struct copy *c)
{
    struct restarts_want want = {.namespace_ = c->namespace_, .projection = c->name};
    char hash[RESTART_HASH_LEN + 1];
    struct lh_err err = {0};
    int rc = 0;

    if (!c->set->term.restarts)
        return;
    if (!names_workloads(c)) {
        copy_restart_stop(c);
        return;
    }
    want.on_change = c->spec->p->on_change;
    if (c->cur && c->cur->ready) {
        rc = hash_of(c, hash, &want.leased, &err);
        want.hash = rc == 0 ? hash : NULL;
    }
    if (rc == 0 && c->restarts_told && !c->restarts_new &&
        (!want.hash || strcmp(hash, c->restart_hash) == 0))
        return;
    if (rc == 0)
        rc = restarts_set(c->set->term.restarts, &want, &err);
    if (rc < 0) {
        lh_log_warn("restarts not watched", LH_F_STR("namespace", c->namespace_),
                    LH_F_STR("projection", c->name), LH_F_ERR(&err));
        c->retry = true;
        return;
    }
    c->restarts_told = true;
    c->restarts_new = false;
    /* No hash yet is not the hash of nothing. */
    snprintf(c->restart_hash, sizeof(c->restart_hash), "%s", want.hash ? hash : "?");
}

void copies_workloads(struct copies *s, const char *namespace_, const char *projection,
                      const struct condition *cond)
{
    lh_auto_free char *key = lh_asprintf("%s/%s", namespace_, projection);
    struct copy *c = key ? lh_map_get(s->by_key, lh_str(key)) : NULL;
    char *message;

    if (!c)
        return;
    if (!cond) {
        forget(c);
        copy_wake(c);
        return;
    }
    message = lh_strdup(cond->message ? cond->message : "");
    if (message && !c->workloads)
        c->workloads = lh_calloc(1, sizeof(*c->workloads));
    if (!message || !c->workloads) {
        lh_free(message);
        return;
    }
    lh_free(c->workloads->message);
    *c->workloads =
        (struct copy_workloads){.status = cond->status, .reason = cond->reason, .message = message};
    copy_wake(c);
}
