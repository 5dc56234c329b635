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

/* "secrets" of /registry/secrets/ns/name. What is no object's key goes by its first segment. */
static char *resource_of(struct lh_str key, struct lh_str prefix)
{
    struct audit_path path;
    struct lh_str first, rest;

    if (audit_path_parse(key, prefix, &path))
        return lh_strdup(path.resource);
    rest = (struct lh_str){key.p + prefix.n, key.n - prefix.n};
    while (lh_str_starts(rest, LH_STR("/")))
        rest = (struct lh_str){rest.p + 1, rest.n - 1};
    lh_str_cut(rest, '/', &first, &rest);
    return lh_str_dup(first);
}

/* Keys of built-in kinds do not tell their group: of one that is not known here it may be any. */
static bool is_known(const char *resource)
{
    static const char *const core[] = {"configmaps",     "endpoints",
                                       "events",         "limitranges",
                                       "namespaces",     "nodes",
                                       "pods",           "persistentvolumeclaims",
                                       "podtemplates",   "persistentvolumes",
                                       "secrets",        "replicationcontrollers",
                                       "resourcequotas", "serviceaccounts",
                                       "services"};

    for (size_t i = 0; i < LH_ARRAY_LEN(core); i++)
        if (strcmp(resource, core[i]) == 0)
            return true;
    return strchr(resource, '.') != NULL;
}

static bool may_cover(const struct lh_atrest_rule *r, const char *resource)
{
    size_t n = strlen(resource);

    for (size_t k = 0; k < r->resources.n; k++) {
        const char *name = *(char **)lh_vec_at(&r->resources, k);

        if (name[0] == '*' || (strncmp(name, resource, n) == 0 && (!name[n] || name[n] == '.')))
            return true;
    }
    return false;
}

/* Whether a provider that the rule has opens the value. */
static bool has_key(const struct lh_atrest_rule *r, const struct lh_atrest_value *v)
{
    struct lh_atrest_ref ref = {.scheme = v->scheme};

    if (v->name.n >= sizeof(ref.name))
        return false;
    memcpy(ref.name, v->name.p ? v->name.p : "", v->name.n);
    return lh_atrest_rule_has(r, &ref);
}

/* What the configuration has to do with a value. */
struct match {
    bool covered; /* a rule is, or may be, about its resource */
    bool opened;  /* and has what opens it */
};

static struct match match(const struct lh_atrest_config *c, const char *resource,
                          const struct lh_atrest_value *v)
{
    bool plain = v->scheme == LH_ATREST_IDENTITY || v->scheme == LH_ATREST_FOREIGN;
    const struct lh_atrest_rule *only = NULL;
    struct match m = {false, false};

    if (!c)
        return (struct match){false, true};
    only = lh_atrest_config_rule(c, resource);
    if (only || is_known(resource)) {
        m.covered = only != NULL;
        m.opened = only ? has_key(only, v) : plain;
        return m;
    }
    for (size_t i = 0; i < c->rules.n; i++) {
        const struct lh_atrest_rule *r = lh_vec_at(&c->rules, i);

        if (!may_cover(r, resource))
            continue;
        m.covered = true;
        m.opened |= has_key(r, v);
    }
    m.opened |= plain;
    return m;
}

static bool is_same(const struct enc_count *c, const char *resource,
                    const struct lh_atrest_value *v)
{
    return c->ref.scheme == v->scheme && strcmp(c->resource, resource) == 0 &&
           lh_str_eqz(v->name, c->ref.name) && lh_str_eqz(v->key_id, c->key_id);
}

static int count(struct scan *s, const char *resource, const struct lh_atrest_value *v,
                 struct lh_str key, bool locked)
{
    struct enc_count c = {.count = 1, .ref = {.scheme = v->scheme}, .is_locked = locked};
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
    c.example = locked ? lh_str_dup(key) : NULL;
    if (!c.resource || !c.key_id || (locked && !c.example) || !lh_vec_push(counts, &c)) {
        lh_free(c.resource);
        lh_free(c.key_id);
        lh_free(c.example);
        return lh_err_nomem(&s->err);
    }
    return 0;
}

void enc_plain(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
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
    enc_plain(copy);
    return 0;
}

static bool is_needed(const struct scan *s, const struct lh_atrest_value *v, bool covered)
{
    const struct lh_atrest_ref *need = s->out->need;

    if (!need || !lh_atrest_ref_opens(need, v))
        return false;
    return need->scheme != LH_ATREST_IDENTITY || covered;
}

static int take(struct scan *s, const struct lh_etcd_entry *e, const char *resource)
{
    struct enc_scan *out = s->out;
    struct lh_atrest_value v;
    bool unreadable, needed, locked;
    struct match m;
    int rc = 0;

    lh_atrest_value_read_all(e->value, &v);
    m = match(out->config, resource, &v);
    unreadable = e->unread || v.scheme == LH_ATREST_UNKNOWN ||
                 (v.scheme != LH_ATREST_FOREIGN && v.form != LH_ATREST_WHOLE) ||
                 (v.scheme == LH_ATREST_FOREIGN && m.covered);
    needed = is_needed(s, &v, m.covered);
    locked = !unreadable && !m.opened;
    out->unreadable += unreadable;
    out->needed += needed;
    out->locked += locked;
    out->whole |= strcmp(resource, "namespaces") == 0;
    if (unreadable || needed || locked)
        rc = sample(s, e->key);
    if (rc == 0 && (m.covered || lh_atrest_scheme_protection(v.scheme) != LH_ATREST_NONE))
        rc = count(s, resource, &v, e->key, locked);
    return rc;
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    struct scan *s = arg;
    lh_auto_free char *resource = NULL;

    if (s->rc < 0)
        return;
    s->out->total++;
    resource = resource_of(e->key, s->prefix);
    s->rc = resource ? take(s, e, resource) : lh_err_nomem(&s->err);
}

static void clear(struct enc_scan *s)
{
    for (size_t i = 0; i < s->counts.n; i++) {
        struct enc_count *c = lh_vec_at(&s->counts, i);

        lh_free(c->resource);
        lh_free(c->key_id);
        lh_free(c->example);
    }
    for (size_t i = 0; i < s->samples.n; i++)
        lh_free(*(char **)lh_vec_at(&s->samples, i));
    lh_vec_clear(&s->counts);
    lh_vec_clear(&s->samples);
    s->total = s->needed = s->unreadable = s->locked = 0;
    s->whole = false;
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
