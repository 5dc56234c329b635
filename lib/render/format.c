/* SPDX-License-Identifier: Apache-2.0 */
#include "render_priv.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/api/reasons.h"

static int by_key(const void *a, const void *b)
{
    const struct lh_member *x = a, *y = b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int c = n > 0 ? memcmp(x->key.p, y->key.p, n) : 0;

    return c ? c : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

int lh_render_members(const lh_json *data, struct lh_vec *out, struct lh_err *err)
{
    struct lh_member m;
    struct lh_vec v;
    void *it = NULL;

    lh_vec_init(&v, sizeof(struct lh_member));
    while (lh_json_next(data, &it, &m.key, &m.value)) {
        if (!lh_vec_push(&v, &m)) {
            lh_vec_done(&v);
            return lh_err_nomem(err);
        }
    }
    if (v.n > 0)
        qsort(v.p, v.n, v.size, by_key);
    *out = v;
    return 0;
}

int lh_render_all(enum lh_format format, const lh_json *data, struct lh_buf *b, struct lh_err *err)
{
    struct lh_vec members;
    int rc;

    if (format == LH_FORMAT_JSON) {
        lh_json_write(data, LH_JSON_SORTED, b);
        return 0;
    }
    rc = lh_render_members(data, &members, err);
    if (rc < 0)
        return rc;
    if (members.n == 0 && format == LH_FORMAT_YAML)
        lh_buf_put_z(b, "{}"); /* nothing at all would be null */
    for (size_t i = 0; rc == 0 && i < members.n; i++) {
        const struct lh_member *m = lh_vec_at(&members, i);

        if (i > 0)
            lh_buf_put_c(b, '\n');
        if (format == LH_FORMAT_YAML)
            lh_render_yaml(m, b);
        else if (format == LH_FORMAT_PROPERTIES)
            lh_render_property(m, b);
        else
            rc = lh_render_env(m, b, err);
    }
    lh_vec_done(&members);
    return rc;
}

/* "a, b, c and 12 more": names, never values. */
static void list_keys(const lh_json *data, struct lh_buf *b)
{
    enum { MOST = 12 };
    struct lh_vec members;

    if (lh_render_members(data, &members, NULL) < 0)
        return;
    for (size_t i = 0; i < members.n && i < MOST; i++) {
        const struct lh_member *m = lh_vec_at(&members, i);

        lh_buf_printf(b, "%s%.*s", i ? ", " : "", (int)(m->key.n < 32 ? m->key.n : 32), m->key.p);
    }
    if (members.n > MOST)
        lh_buf_printf(b, " and %zu more", members.n - MOST);
    lh_vec_done(&members);
}

int lh_render_find(const lh_json *data, struct lh_str key, const lh_json **out, struct lh_err *err)
{
    const lh_json *v = lh_json_getn(data, key);
    lh_auto_buf struct lh_buf keys = {.cap = 1024};

    if (v) {
        *out = v;
        return 0;
    }
    list_keys(data, &keys);
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_NOTFOUND, "there is no key \"%.*s\"; there %s %s",
                                    (int)(key.n < 64 ? key.n : 64), key.p,
                                    lh_json_len(data) == 1 ? "is" : "are",
                                    lh_json_len(data) ? lh_buf_peek(&keys).p : "none"),
                         LH_REASON_KeyNotFound);
}
