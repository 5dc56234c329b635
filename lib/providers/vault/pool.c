/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP client for all who ask the same store from one process: the store's limits are per
 * process, and a hundred volumes of one store need no hundred pools of connections. A client that
 * has a certificate or a CA file of its own is not shared. Whoever closes cancels its own requests.
 */
#include "vault_priv.h"

#include <string.h>

#include "leasehold/core/mem.h"

struct lh_vault_pool {
    struct lh_vault_pool *next;
    struct lh_loop *loop;
    struct lh_store *store; /* a reference */
    char *addresses;        /* those that are allowed, one a line */
    bool allow_loopback;
    struct lh_http *http;
    unsigned users;
};

/* One thread, and gone with its last user. */
static struct lh_vault_pool *pools;

static int join(const char *const *list, char **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    size_t n;

    lh_buf_init(&b, (size_t)64 * 1024);
    for (; list && *list; list++)
        lh_buf_printf(&b, "%s\n", *list);
    return lh_buf_finish(&b, out, &n, err);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_same_store(const struct lh_store *a, const struct lh_store *b)
{
    return a == b || (a->cluster_scoped == b->cluster_scoped && same_text(a->name, b->name) &&
                      same_text(a->namespace_, b->namespace_) && lh_json_equal(a->spec, b->spec));
}

static struct lh_vault_pool *find(const struct lh_provider *p, const char *addresses)
{
    for (struct lh_vault_pool *q = pools; q; q = q->next) {
        if (q->loop == p->loop && q->allow_loopback == p->id.allow_loopback &&
            strcmp(q->addresses, addresses) == 0 && is_same_store(q->store, p->store))
            return q;
    }
    return NULL;
}

static int pool_new(struct lh_provider *p, const struct lh_http_options *o, char **addresses,
                    struct lh_vault_pool **out, struct lh_err *err)
{
    struct lh_vault_pool *q = lh_calloc(1, sizeof(*q));
    int rc = q ? lh_http_new(p->loop, o, &q->http, err) : lh_err_nomem(err);

    if (rc < 0) {
        lh_free(q);
        return rc;
    }
    q->loop = p->loop;
    q->store = lh_store_ref(p->store);
    q->addresses = LH_TAKE_PTR(*addresses);
    q->allow_loopback = p->id.allow_loopback;
    q->next = pools;
    pools = q;
    *out = q;
    return 0;
}

int lh_vault_pool_get(struct lh_provider *p, const struct lh_http_options *o, struct lh_err *err)
{
    lh_auto_free char *addresses = NULL;
    struct lh_vault_pool *q;
    int rc;

    if (o->ca_file || o->client_cert_file)
        return lh_http_new(p->loop, o, &p->http, err);
    rc = join(o->allow_addresses, &addresses, err);
    if (rc < 0)
        return rc;
    q = find(p, addresses);
    rc = q ? 0 : pool_new(p, o, &addresses, &q, err);
    if (rc < 0)
        return rc;
    q->users++;
    p->pool = q;
    p->http = q->http;
    return 0;
}

void lh_vault_pool_put(struct lh_provider *p)
{
    struct lh_vault_pool *q = p->pool, **at = &pools;

    if (!q) {
        lh_http_free(p->http);
        return;
    }
    if (--q->users > 0)
        return;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    lh_http_free(q->http);
    lh_store_unref(q->store);
    lh_free(q->addresses);
    lh_free(q);
}
