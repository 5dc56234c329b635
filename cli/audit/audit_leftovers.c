/* SPDX-License-Identifier: Apache-2.0 */
/* What stays behind where values were rewritten: etcd's disk (P11) and kept snapshots (P12). */
#include <inttypes.h>
#include <string.h>

#include "audit_gather.h"
#include "audit_judge.h"
#include "leasehold/core/mem.h"

typedef int (*search_fn)(const char *path, const char *prefix, struct lh_leftovers *out,
                         struct lh_err *err);

/* Without memory nothing goes on; whatever else hinders is a fact about that path. */
static int gather(struct lh_vec *into, struct audit *a, const char *path, const char *prefix,
                  search_fn search, struct lh_err *err)
{
    struct audit_residue one = {.path = lh_strdup(path)};
    const struct lh_leftovers *l = &one.found;
    struct lh_err why = {0};
    int rc = one.path ? search(path, prefix, &one.found, &why) : -(int)LH_E_NOMEM;

    one.read = rc == 0 && !l->changed && l->damaged + l->unread == 0;
    one.has_log = l->has_log;
    for (int p = 0; rc == 0 && p < LH_LEFTOVER_PLACES; p++)
        one.plain += l->plain[p];
    if (rc != -LH_E_NOMEM && !one.read) {
        one.why = lh_strdup(rc < 0 ? why.msg : l->first_fault);
        rc = one.why ? audit_trouble(a, err, "%s: %s", path, one.why) : -(int)LH_E_NOMEM;
    }
    if (rc == 0 && lh_vec_push(into, &one))
        return 0;
    lh_free(one.path);
    lh_free(one.why);
    lh_leftovers_done(&one.found);
    return lh_err_nomem(err);
}

int audit_gather_backup(struct audit *a, const char *path, const char *prefix, struct lh_err *err)
{
    return gather(&a->backups, a, path, prefix, lh_leftovers_file, err);
}

int audit_gather_database(struct audit *a, const char *path, const char *prefix, struct lh_err *err)
{
    return gather(&a->leftovers, a, path, prefix, lh_leftovers_file, err);
}

int audit_gather_folder(struct audit *a, const char *path, const char *prefix, struct lh_err *err)
{
    return gather(&a->leftovers, a, path, prefix, lh_leftovers_dir, err);
}

struct sums {
    uint64_t plain, places[LH_LEFTOVER_PLACES];
    size_t unread, logs;
};

static struct sums sum(const struct lh_vec *all)
{
    struct sums s = {0};

    for (size_t i = 0; i < all->n; i++) {
        const struct audit_residue *r = lh_vec_at(all, i);

        s.plain += r->plain;
        s.unread += !r->read;
        s.logs += r->has_log;
        for (int p = 0; p < LH_LEFTOVER_PLACES; p++)
            s.places[p] += r->found.plain[p];
    }
    return s;
}

static enum audit_result found(const struct sums *s, const char *what, struct lh_buf *b)
{
    static const char *const where[LH_LEFTOVER_PLACES] = {
        [LH_LEFTOVER_CURRENT] = "current",          [LH_LEFTOVER_OLDER] = "in older revisions",
        [LH_LEFTOVER_FREE] = "in free pages",       [LH_LEFTOVER_LOG] = "in the write-ahead log",
        [LH_LEFTOVER_ELSEWHERE] = "in other files",
    };
    const char *before = ": ";

    lh_buf_printf(b, "%" PRIu64 " values of Secrets in plain text are in %s", s->plain, what);
    for (int p = 0; p < LH_LEFTOVER_PLACES; p++) {
        if (s->places[p] == 0)
            continue;
        lh_buf_printf(b, "%s%" PRIu64 " %s", before, s->places[p], where[p]);
        before = ", ";
    }
    return AUDIT_FAIL;
}

/* The log takes every write before the database does, so that without it nothing is proven; each
 * member has its own disk. */
AUDIT_JUDGE(audit_judge_leftovers)
{
    struct sums s = sum(&a->leftovers);

    if (s.plain)
        return found(&s, "etcd's database file or its write-ahead log", b);
    if (a->leftovers.n == 0) {
        lh_buf_put_z(b, "free pages and the write-ahead log were not searched: --data-dir");
    } else if (s.unread) {
        lh_buf_printf(b, "some were not searched to the end: %zu of %zu", s.unread, a->leftovers.n);
    } else if (s.logs == 0) {
        lh_buf_put_z(b, "none found in the database; the write-ahead log was not searched: "
                        "--data-dir");
    } else if (s.logs < a->members) {
        lh_buf_printf(b, "none found in %zu, of %zu members: --data-dir names a folder of each",
                      s.logs, a->members);
    } else {
        lh_buf_printf(b, "none found in %zu", a->leftovers.n);
        return AUDIT_PASS;
    }
    return AUDIT_NOT_PROVEN;
}

AUDIT_JUDGE(audit_judge_backups)
{
    struct sums s = sum(&a->backups);

    if (s.plain)
        return found(&s, "backups", b);
    if (a->backups.n == 0 || s.unread) {
        lh_buf_printf(b, "%s not looked into: --backup names snapshots that are kept",
                      a->backups.n ? "some were" : "they were");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "none found in %zu", a->backups.n);
    return AUDIT_PASS;
}

static lh_json *groups_json(const struct lh_leftovers *l)
{
    lh_json *list = lh_json_new_array();

    for (size_t i = 0; i < l->groups.n; i++) {
        const struct lh_leftover *g = lh_vec_at(&l->groups, i);
        lh_json *o = lh_json_new_object();

        lh_json_set(o, "place", lh_json_new_z(lh_leftover_place_name(g->place)));
        lh_json_set(o, "provider", lh_json_new_z(lh_atrest_scheme_name(g->scheme)));
        lh_json_set(o, "name", lh_json_new_z(g->name));
        lh_json_set(o, "keyId", *g->key_id ? lh_json_new_z(g->key_id) : lh_json_new_null());
        lh_json_set(o, "count", lh_json_new_int((int64_t)g->count));
        lh_json_push(list, o);
    }
    return list;
}

static void put(lh_json *list, const struct lh_vec *all, const char *kind)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct audit_residue *r = lh_vec_at(all, i);
        lh_json *o = lh_json_new_object(), *plain = lh_json_new_object();

        for (int p = 0; p < LH_LEFTOVER_PLACES; p++)
            lh_json_set(plain, lh_leftover_place_name((enum lh_leftover_place)p),
                        lh_json_new_int((int64_t)r->found.plain[p]));
        lh_json_set(o, "path", lh_json_new_z(r->path));
        lh_json_set(o, "kind", lh_json_new_z(kind));
        lh_json_set(o, "complete", lh_json_new_bool(r->read));
        lh_json_set(o, "why", r->why && *r->why ? lh_json_new_z(r->why) : lh_json_new_null());
        lh_json_set(o, "log", lh_json_new_bool(r->has_log));
        lh_json_set(o, "bytes", lh_json_new_int((int64_t)r->found.bytes));
        lh_json_set(o, "plain", plain);
        lh_json_set(o, "keys", groups_json(&r->found));
        lh_json_push(list, o);
    }
}

lh_json *audit_leftovers_json(const struct audit *a)
{
    lh_json *list = lh_json_new_array();

    put(list, &a->leftovers, "disk");
    put(list, &a->backups, "backup");
    return list;
}
