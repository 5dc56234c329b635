/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's own bytes: how many objects of each resource need which key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/etcd/source.h"

enum { SAMPLES = 20, COUNTS_MAX = 10000 };

struct scan {
    struct enc_scan *out;
    struct lh_str prefix;
    struct lh_err err;
    int rc;
    bool done;
    struct lh_etcd_scanned result;
};

/* "secrets" of /registry/secrets/ns/name, "things.example.org" of /registry/example.org/things/x:
 * only groups have a dot in the first segment. */
static char *resource_of(struct lh_str key, struct lh_str prefix)
{
    struct lh_str first, second, rest;

    rest = (struct lh_str){key.p + prefix.n, key.n - prefix.n};
    while (lh_str_starts(rest, LH_STR("/")))
        rest = (struct lh_str){rest.p + 1, rest.n - 1};
    lh_str_cut(rest, '/', &first, &rest);
    if (!first.n || !memchr(first.p, '.', first.n))
        return lh_str_dup(first);
    lh_str_cut(rest, '/', &second, &rest);
    return lh_asprintf("%.*s.%.*s", (int)second.n, second.p, (int)first.n, first.p);
}

/* Does a rule name the resource whose key this is? Built-in groups are not in the key, so that a
 * name without its group counts, and a wildcard stands for all: rather too much than too little. */
static bool is_covered(const struct lh_atrest_config *c, const char *resource)
{
    for (size_t i = 0; c && i < c->rules.n; i++) {
        const struct lh_atrest_rule *r = lh_vec_at(&c->rules, i);

        for (size_t k = 0; k < r->resources.n; k++) {
            const char *name = *(char **)lh_vec_at(&r->resources, k);

            if (name[0] == '*' || strcmp(name, resource) == 0 ||
                (strncmp(name, resource, strlen(resource)) == 0 && name[strlen(resource)] == '.'))
                return true;
        }
    }
    return false;
}

static bool is_same(const struct enc_count *c, const char *resource,
                    const struct lh_atrest_value *v)
{
    return c->ref.scheme == v->scheme && strcmp(c->resource, resource) == 0 &&
           lh_str_eqz(v->name, c->ref.name) && lh_str_eqz(v->key_id, c->key_id);
}

static int count(struct scan *s, const char *resource, const struct lh_atrest_value *v)
{
    struct enc_count c = {.count = 1, .ref = {.scheme = v->scheme}};
    struct lh_vec *counts = &s->out->counts;

    for (size_t i = 0; i < counts->n; i++) {
        struct enc_count *have = lh_vec_at(counts, i);

        if (is_same(have, resource, v)) {
            have->count++;
            return 0;
        }
    }
    if (counts->n >= COUNTS_MAX)
        return lh_err_set(&s->err, LH_E_TOOBIG, "over %d kinds of protection", COUNTS_MAX);
    c.resource = lh_strdup(resource);
    c.key_id = lh_str_dup(v->key_id);
    snprintf(c.ref.name, sizeof(c.ref.name), "%.*s", (int)v->name.n, v->name.p ? v->name.p : "");
    if (!c.resource || !c.key_id || !lh_vec_push(counts, &c)) {
        lh_free(c.resource);
        lh_free(c.key_id);
        return lh_err_nomem(&s->err);
    }
    return 0;
}

static int sample(struct scan *s, struct lh_str key)
{
    char *copy;

    if (s->out->samples.n >= SAMPLES)
        return 0;
    copy = lh_str_dup(key);
    if (!copy || !lh_vec_push(&s->out->samples, &copy)) {
        lh_free(copy);
        return lh_err_nomem(&s->err);
    }
    return 0;
}

static bool is_needed(const struct scan *s, const struct lh_atrest_value *v, bool covered)
{
    const struct lh_atrest_ref *need = s->out->need;

    if (!need || !lh_atrest_ref_opens(need, v))
        return false;
    return need->scheme != LH_ATREST_IDENTITY || covered;
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    struct scan *s = arg;
    struct lh_atrest_value v;
    lh_auto_free char *resource = NULL;
    bool covered, unreadable;

    if (s->rc < 0)
        return;
    s->out->total++;
    resource = resource_of(e->key, s->prefix);
    if (!resource) {
        s->rc = lh_err_nomem(&s->err);
        return;
    }
    lh_atrest_value_read_all(e->value, &v);
    covered = is_covered(s->out->config, resource);
    unreadable = e->unread || v.scheme == LH_ATREST_UNKNOWN ||
                 (v.scheme != LH_ATREST_FOREIGN && v.form != LH_ATREST_WHOLE) ||
                 (v.scheme == LH_ATREST_FOREIGN && covered);
    if (unreadable)
        s->out->unreadable++;
    if (is_needed(s, &v, covered))
        s->out->needed++;
    if (unreadable || is_needed(s, &v, covered))
        s->rc = sample(s, e->key);
    if (s->rc == 0 && (covered || lh_atrest_scheme_protection(v.scheme) != LH_ATREST_NONE))
        s->rc = count(s, resource, &v);
}

static void clear(struct enc_scan *s)
{
    for (size_t i = 0; i < s->counts.n; i++) {
        struct enc_count *c = lh_vec_at(&s->counts, i);

        lh_free(c->resource);
        lh_free(c->key_id);
    }
    for (size_t i = 0; i < s->samples.n; i++)
        lh_free(*(char **)lh_vec_at(&s->samples, i));
    lh_vec_clear(&s->counts);
    lh_vec_clear(&s->samples);
    s->total = s->needed = s->unreadable = 0;
}

void enc_scan_done(struct enc_scan *s)
{
    clear(s);
    lh_vec_done(&s->counts);
    lh_vec_done(&s->samples);
}

static void on_restart(void *arg)
{
    clear(((struct scan *)arg)->out);
}

static void on_end(void *arg, const struct lh_etcd_scanned *result, const struct lh_err *err)
{
    struct scan *s = arg;

    s->done = true;
    if (err && s->rc == 0) {
        s->err = *err;
        s->rc = lh_err_negative(-err->code);
    }
    if (result)
        s->result = *result;
}

static int open_source(const struct enc_options *o, struct lh_loop *loop, struct lh_etcd **out,
                       struct lh_err *err)
{
    const struct lh_etcd_live_options live = {.urls = o->etcd,
                                              .ca_file = o->cacert,
                                              .cert_file = o->cert,
                                              .key_file = o->key,
                                              .timeout_ms = (unsigned)o->timeout_ms};

    return o->etcd ? lh_etcd_open(loop, &live, out, err)
                   : lh_etcd_open_file(loop, o->snapshot, out, err);
}

static int by_name(const void *a, const void *b)
{
    const struct enc_count *x = a, *y = b;
    int d = strcmp(x->resource, y->resource);

    if (d == 0)
        d = (int)x->ref.scheme - (int)y->ref.scheme;
    if (d == 0)
        d = strcmp(x->ref.name, y->ref.name);
    return d ? d : strcmp(x->key_id, y->key_id);
}

static int run(const struct enc_options *o, struct lh_loop *loop, struct scan *s)
{
    const struct lh_etcd_scan_options opts = {.prefix = o->etcd_prefix,
                                              .max_value = SIZE_MAX,
                                              .entry = on_entry,
                                              .restarted = on_restart};
    struct lh_etcd *e = NULL;
    struct lh_etcd_scan *op = NULL;
    int rc = open_source(o, loop, &e, &s->err);

    if (rc == 0)
        rc = lh_etcd_scan_start(e, &opts, on_end, s, &op, &s->err);
    while (rc == 0 && !s->done)
        lh_loop_turn(loop, -1);
    lh_etcd_free(e);
    return rc < 0 ? rc : s->rc;
}

int enc_scan_run(const struct enc_options *o, struct enc_scan *out, struct lh_err *err)
{
    struct scan s = {.out = out, .prefix = lh_str(o->etcd_prefix)};
    struct lh_loop *loop = NULL;
    int rc = lh_loop_new(&loop, err);

    lh_vec_init(&out->counts, sizeof(struct enc_count));
    lh_vec_init(&out->samples, sizeof(char *));
    if (rc < 0)
        return rc;
    rc = run(o, loop, &s);
    lh_loop_free(loop);
    if (rc < 0) {
        *err = s.err;
        return lh_err_wrap(err, rc, "etcd");
    }
    out->live = o->etcd != NULL;
    out->revision = s.result.revision;
    out->unreadable += s.result.bad_pages + s.result.bad_entries;
    if (out->counts.n)
        qsort(out->counts.p, out->counts.n, out->counts.size, by_name);
    return 0;
}
