/* SPDX-License-Identifier: Apache-2.0 */
#include "seen.h"

#include <stdint.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { FIRST_ROOM = 1024 }; /* a power of two, as it stays */

/* All zero: a free place. */
struct mark {
    uint64_t a, b;
};

struct lh_seen {
    struct mark *marks;
    size_t room, n;
};

int lh_seen_new(struct lh_seen **out, struct lh_err *err)
{
    struct lh_seen *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    s->room = FIRST_ROOM;
    s->marks = lh_calloc(s->room, sizeof(*s->marks));
    if (!s->marks) {
        lh_free(s);
        return lh_err_nomem(err);
    }
    *out = s;
    return 0;
}

void lh_seen_free(struct lh_seen *s)
{
    if (!s)
        return;
    lh_free(s->marks);
    lh_free(s);
}

static struct mark *place_of(struct mark *marks, size_t room, struct mark m)
{
    size_t i = m.a & (room - 1);

    while ((marks[i].a || marks[i].b) && (marks[i].a != m.a || marks[i].b != m.b))
        i = (i + 1) & (room - 1);
    return &marks[i];
}

static int grow(struct lh_seen *s, struct lh_err *err)
{
    struct mark *more = lh_calloc(s->room * 2, sizeof(*more));

    if (!more)
        return lh_err_nomem(err);
    for (size_t i = 0; i < s->room; i++) {
        if (s->marks[i].a || s->marks[i].b)
            *place_of(more, s->room * 2, s->marks[i]) = s->marks[i];
    }
    lh_free(s->marks);
    s->marks = more;
    s->room *= 2;
    return 0;
}

int lh_seen_add(struct lh_seen *s, struct lh_str key, bool *fresh, struct lh_err *err)
{
    struct lh_keyed_hash hash;
    struct mark m, *at;
    int rc = lh_keyed_hash(key.p, key.n, &hash, err);

    if (rc == 0 && s->n >= s->room / 4 * 3)
        rc = grow(s, err);
    if (rc < 0)
        return rc;
    memcpy(&m, hash.b, sizeof(m));
    m.a |= (uint64_t)(m.a == 0 && m.b == 0);
    at = place_of(s->marks, s->room, m);
    *fresh = at->a == 0 && at->b == 0;
    if (*fresh) {
        *at = m;
        s->n++;
    }
    return 0;
}
