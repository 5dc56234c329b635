/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_rows.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"

static int compare(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

/* One row a run of groups with the same name, as they stand. resource NULL: kinds. */
static int rows_of(const struct lh_vec *groups, const char *resource, struct lh_vec *out)
{
    lh_vec_init(out, sizeof(struct audit_row));
    for (size_t i = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);
        const char *name = resource ? g->namespace_ : g->resource;
        struct audit_row *last = out->n ? lh_vec_at(out, out->n - 1) : NULL;

        if (resource && strcmp(g->resource, resource) != 0)
            continue;
        if (!last || strcmp(last->name, name) != 0)
            last = lh_vec_push(out, &(struct audit_row){.name = name});
        if (!last)
            return -LH_E_NOMEM;
        last->n[g->protection] += g->count;
        last->all += g->count;
    }
    return 0;
}

static bool is_encrypted(const struct audit_row *r)
{
    return r->n[AUDIT_KMS] + r->n[AUDIT_LOCAL] + r->n[AUDIT_MALFORMED] > 0;
}

static int by_interest(const void *left, const void *right)
{
    const struct audit_row *x = left, *y = right;
    int order = (strcmp(y->name, "secrets") == 0) - (strcmp(x->name, "secrets") == 0);

    order = order ? order : is_encrypted(y) - is_encrypted(x);
    order = order ? order : compare(y->all, x->all);
    return order ? order : strcmp(x->name, y->name);
}

/* Worse protections first. */
static const enum audit_protection needs[] = {AUDIT_NONE, AUDIT_MALFORMED, AUDIT_LOCAL, AUDIT_KMS,
                                              AUDIT_EXTERNAL};

static int by_need(const void *left, const void *right)
{
    const struct audit_row *x = left, *y = right;

    for (size_t i = 0; i < LH_ARRAY_LEN(needs); i++) {
        int order = compare(y->n[needs[i]], x->n[needs[i]]);

        if (order)
            return order;
    }
    return strcmp(x->name, y->name);
}

static int sorted(int rc, struct lh_vec *v, int (*by)(const void *, const void *))
{
    if (rc == 0 && v->n)
        qsort(v->p, v->n, v->size, by);
    return rc;
}

int audit_rows_of_kinds(const struct lh_vec *groups, struct lh_vec *out)
{
    return sorted(rows_of(groups, NULL, out), out, by_interest);
}

int audit_rows_of_secrets(const struct lh_vec *groups, struct lh_vec *out)
{
    return sorted(rows_of(groups, "secrets", out), out, by_need);
}

struct audit_row audit_rows_sum(const struct lh_vec *rows, size_t first)
{
    struct audit_row sum = {.name = ""};

    for (size_t i = first; i < rows->n; i++) {
        const struct audit_row *r = lh_vec_at(rows, i);

        for (int p = 0; p < AUDIT_PROTECTIONS; p++)
            sum.n[p] += r->n[p];
        sum.all += r->all;
    }
    return sum;
}

static size_t rank(enum audit_protection p)
{
    size_t i = 0;

    while (i < LH_ARRAY_LEN(needs) && needs[i] != p)
        i++;
    return i;
}

static int worst_first(const void *left, const void *right)
{
    const struct audit_seen *x = left, *y = right;
    int order = compare(rank(x->protection), rank(y->protection));

    order = order ? order : strcmp(x->w->namespace_, y->w->namespace_);
    order = order ? order : strcmp(x->w->kind, y->w->kind);
    return order ? order : strcmp(x->w->name, y->w->name);
}

int audit_seen_list(const struct audit *a, struct lh_vec *out, size_t *bare)
{
    struct lh_vec all;
    int rc;

    *bare = 0;
    lh_vec_init(out, sizeof(struct audit_seen));
    lh_vec_init(&all, sizeof(struct audit_workload *));
    rc = audit_workload_list(a, &all, NULL);
    for (size_t i = 0; i < all.n && rc == 0; i++) {
        struct audit_seen s = {.w = *(struct audit_workload **)lh_vec_at(&all, i)};

        if (!s.w->injected && s.w->secrets.n == 0) {
            ++*bare;
            continue;
        }
        s.protection = audit_workload_class(a, s.w, &s.proof);
        if (!lh_vec_push(out, &s))
            rc = -LH_E_NOMEM;
    }
    lh_vec_done(&all);
    return sorted(rc, out, worst_first);
}

void audit_tally(const struct lh_vec *verdicts, size_t out[AUDIT_RESULTS])
{
    memset(out, 0, AUDIT_RESULTS * sizeof(*out));
    for (size_t i = 0; i < verdicts->n; i++)
        out[((struct audit_verdict *)lh_vec_at(verdicts, i))->result]++;
}

int audit_verdicts_of(const struct lh_vec *verdicts, enum audit_result r, struct lh_vec *out)
{
    lh_vec_init(out, sizeof(struct audit_verdict *));
    for (int s = AUDIT_CRITICAL; s >= AUDIT_INFO; s--) {
        for (size_t i = 0; i < verdicts->n; i++) {
            struct audit_verdict *v = lh_vec_at(verdicts, i);

            if (v->result == r && (int)v->check->severity == s && !lh_vec_push(out, &v))
                return -LH_E_NOMEM;
        }
    }
    return 0;
}
