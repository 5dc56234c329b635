/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of an audit: counts by class, never by object. */
#include "audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { MAX_NAME = 1100, MAX_TROUBLES = 200 };

int audit_init(struct audit *a, struct lh_err *err)
{
    struct lh_map **maps[] = {&a->groups,       &a->seeds,      &a->used,        &a->workloads,
                              &a->rights.roles, &a->rights.all, &a->rights.some, &a->rights.exec};
    int rc = 0;

    *a = (struct audit){.now_ms = lh_clock_wall_ms()};
    lh_vec_init(&a->rules, sizeof(struct audit_rule));
    lh_vec_init(&a->sockets, sizeof(struct audit_file));
    lh_vec_init(&a->servers, sizeof(struct audit_server));
    lh_vec_init(&a->plugins, sizeof(struct audit_plugin));
    lh_vec_init(&a->backups, sizeof(struct audit_residue));
    lh_vec_init(&a->leftovers, sizeof(struct audit_residue));
    lh_vec_init(&a->troubles, sizeof(char *));
    for (size_t i = 0; i < LH_ARRAY_LEN(maps) && rc == 0; i++)
        rc = lh_map_new(maps[i], err);
    if (rc < 0)
        audit_done(a);
    return rc;
}

static void free_group(void *p)
{
    audit_group_done(p);
    lh_free(p);
}

static void free_strings(struct lh_vec *v)
{
    for (size_t i = 0; i < v->n; i++)
        lh_free(*(char **)lh_vec_at(v, i));
    lh_vec_done(v);
}

static void free_workload(void *p)
{
    struct audit_workload *w = p;

    lh_free(w->kind);
    lh_free(w->namespace_);
    lh_free(w->name);
    free_strings(&w->secrets);
    lh_free(w);
}

static void done_rules(struct lh_vec *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        struct audit_rule *r = lh_vec_at(rules, i);

        for (size_t k = 0; k < r->providers.n; k++) {
            struct audit_provider *p = lh_vec_at(&r->providers, k);

            lh_free(p->name);
            lh_free(p->endpoint);
        }
        lh_vec_done(&r->providers);
        free_strings(&r->resources);
    }
    lh_vec_done(rules);
}

void audit_server_done(struct audit_server *s)
{
    for (size_t k = 0; k < s->series.n; k++) {
        struct audit_series *x = lh_vec_at(&s->series, k);

        lh_free(x->a);
        lh_free(x->b);
    }
    lh_vec_done(&s->series);
    lh_free(s->name);
}

static void done_servers(struct lh_vec *servers)
{
    for (size_t i = 0; i < servers->n; i++)
        audit_server_done(lh_vec_at(servers, i));
    lh_vec_done(servers);
}

static void done_plugins(struct lh_vec *plugins)
{
    for (size_t i = 0; i < plugins->n; i++) {
        struct audit_plugin *p = lh_vec_at(plugins, i);

        audit_server_done(&p->metrics);
        lh_free(p->key);
    }
    lh_vec_done(plugins);
}

static void done_residues(struct lh_vec *v)
{
    for (size_t i = 0; i < v->n; i++) {
        struct audit_residue *r = lh_vec_at(v, i);

        lh_free(r->path);
        lh_free(r->why);
        lh_leftovers_done(&r->found);
    }
    lh_vec_done(v);
}

void audit_done(struct audit *a)
{
    lh_map_free(a->groups, free_group);
    lh_map_free(a->seeds, NULL);
    lh_map_free(a->used, lh_free);
    lh_map_free(a->workloads, free_workload);
    for (size_t i = 0; i < a->sockets.n; i++)
        lh_free(((struct audit_file *)lh_vec_at(&a->sockets, i))->path);
    lh_vec_done(&a->sockets);
    lh_free(a->config.path);
    done_rules(&a->rules);
    done_servers(&a->servers);
    done_plugins(&a->plugins);
    lh_map_free(a->rights.roles, NULL);
    lh_map_free(a->rights.all, NULL);
    lh_map_free(a->rights.some, NULL);
    lh_map_free(a->rights.exec, NULL);
    done_residues(&a->backups);
    done_residues(&a->leftovers);
    free_strings(&a->troubles);
    audit_group_done(&a->canary);
    lh_free(a->source);
    *a = (struct audit){0};
}

int audit_forget_bytes(struct audit *a, struct lh_err *err)
{
    struct lh_map *groups = NULL, *seeds = NULL;
    struct lh_str key;
    size_t it = 0;
    void *one;
    int rc = lh_map_new(&groups, err);

    if (rc == 0)
        rc = lh_map_new(&seeds, err);
    if (rc < 0) {
        lh_map_free(groups, NULL);
        return rc;
    }
    lh_map_free(a->groups, free_group);
    lh_map_free(a->seeds, NULL);
    a->groups = groups;
    a->seeds = seeds;
    while (lh_map_next(a->used, &it, &key, &one))
        *(struct audit_used *)one = (struct audit_used){0};
    a->objects = a->bytes = a->skipped_keys = a->groups_cut = a->seeds_cut = 0;
    a->secrets_unused = a->secrets_used = 0;
    a->config_in_configmap = a->secret_like = a->configmaps_unread = 0;
    return 0;
}

int audit_forget_pods(struct audit *a, struct lh_err *err)
{
    struct lh_map *workloads = NULL, *used = NULL;
    int rc = lh_map_new(&workloads, err);

    if (rc == 0)
        rc = lh_map_new(&used, err);
    if (rc < 0) {
        lh_map_free(workloads, NULL);
        return rc;
    }
    lh_map_free(a->workloads, free_workload);
    lh_map_free(a->used, lh_free);
    a->workloads = workloads;
    a->used = used;
    a->pods = (struct audit_pods){.read = false};
    a->workloads_cut = 0;
    return 0;
}

int audit_trouble(struct audit *a, struct lh_err *err, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    char *copy;

    if (a->troubles.n >= MAX_TROUBLES)
        return 0;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    copy = lh_strdup(text);
    if (!copy || !lh_vec_push(&a->troubles, &copy)) {
        lh_free(copy);
        return lh_err_nomem(err);
    }
    return 0;
}

/* Names in stored bytes are whatever their writer liked; people and HTML see printable ASCII. */
static char *printable(struct lh_str s)
{
    size_t n = s.n < MAX_NAME ? s.n : MAX_NAME;
    char *copy = lh_malloc(n + 1);

    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; i++)
        copy[i] = s.p[i] > ' ' && s.p[i] <= '~' ? s.p[i] : '?';
    copy[n] = 0;
    return copy;
}

void audit_group_done(struct audit_group *g)
{
    lh_free(g->resource);
    lh_free(g->namespace_);
    lh_free(g->provider);
    lh_free(g->name);
    lh_free(g->key);
    *g = (struct audit_group){0};
}

int audit_group_init(struct audit_group *g, const struct audit_path *p, const struct audit_value *v,
                     struct lh_err *err)
{
    *g = (struct audit_group){.resource = lh_strdup(p->resource),
                              .namespace_ = printable(p->namespace_),
                              .provider = lh_strdup(v->provider ? v->provider : ""),
                              .name = printable(v->name),
                              .key = printable(v->key),
                              .protection = v->protection,
                              .proof = AUDIT_PROVEN,
                              .oldest = v->revision};
    if (g->resource && g->namespace_ && g->provider && g->name && g->key)
        return 0;
    audit_group_done(g);
    return lh_err_nomem(err);
}

static int group_new(const struct audit_path *p, const struct audit_value *v,
                     struct audit_group **out, struct lh_err *err)
{
    struct audit_group *g = lh_calloc(1, sizeof(*g));
    int rc = g ? audit_group_init(g, p, v, err) : lh_err_nomem(err);

    if (rc < 0)
        lh_free(g);
    else
        *out = g;
    return rc;
}

/* Past the cap namespaces and keys fall together, so that sums stay right. */
static int group_of(struct audit *a, const struct audit_path *p, const struct audit_value *v,
                    struct audit_group **out, struct lh_err *err)
{
    const struct audit_value merged = {.protection = v->protection, .provider = v->provider};
    struct audit_path others = *p;
    lh_auto_buf struct lh_buf key;
    bool cut = false;
    int rc;

    others.namespace_ = LH_STR("(others)");
    lh_buf_init(&key, (size_t)64 * 1024);
    for (int i = 0; i < 2; i++) {
        lh_buf_reset(&key);
        lh_buf_printf(&key, "%s %d %s ", p->resource, (int)v->protection,
                      v->provider ? v->provider : "");
        lh_buf_put_str(&key, cut ? LH_STR("(others)") : p->namespace_);
        lh_buf_put_c(&key, 0);
        lh_buf_put_str(&key, cut ? LH_STR("") : v->name);
        lh_buf_put_c(&key, 0);
        lh_buf_put_str(&key, cut ? LH_STR("") : v->key);
        rc = lh_buf_check(&key, err);
        if (rc < 0)
            return rc;
        *out = lh_map_get(a->groups, lh_buf_peek(&key));
        if (*out)
            break;
        if (cut || lh_map_len(a->groups) < AUDIT_MAX_GROUPS) {
            rc = group_new(cut ? &others : p, cut ? &merged : v, out, err);
            if (rc < 0)
                return rc;
            rc = lh_map_set(a->groups, lh_buf_peek(&key), *out, NULL, err);
            if (rc < 0)
                free_group(*out);
            return rc;
        }
        cut = true;
        a->groups_cut++;
    }
    return 0;
}

static int note_seed(struct audit *a, const struct audit_value *v, struct lh_err *err)
{
    uint8_t hash[LH_HASH_LEN];
    lh_auto_buf struct lh_buf key;
    char hex[17];
    int rc;

    lh_buf_init(&key, (size_t)16 * 1024);
    if (v->protection != AUDIT_KMS || v->source.n == 0)
        return 0;
    rc = lh_sha256(v->source.p, v->source.n, hash, err);
    if (rc < 0)
        return rc;
    lh_hex(hash, 8, hex);
    lh_buf_put_z(&key, hex);
    lh_buf_put_c(&key, ' ');
    lh_buf_put_str(&key, v->name);
    rc = lh_buf_check(&key, err);
    if (rc < 0)
        return rc;
    if (lh_map_len(a->seeds) >= AUDIT_MAX_SEEDS) {
        a->seeds_cut += lh_map_get(a->seeds, lh_buf_peek(&key)) == NULL;
        return 0;
    }
    /* The value of the map only says: it is there. */
    return lh_map_set(a->seeds, lh_buf_peek(&key), a, NULL, err);
}

static bool holds(struct lh_str where, const char *what)
{
    return where.n && memmem(where.p, where.n, what, strlen(what)) != NULL;
}

/* Forms that are secret wherever they stand; a guess by names would cry wolf. */
static bool looks_secret(struct lh_str plain)
{
    static const char *const marks[] = {"PRIVATE KEY-----",
                                        "hvs.CAES",
                                        "ghp_",
                                        "glpat-",
                                        "xoxb-",
                                        "AGE-SECRET-KEY-1",
                                        "\"private_key_id\"",
                                        "aws_secret_access_key"};

    for (size_t i = 0; i < LH_ARRAY_LEN(marks); i++) {
        if (holds(plain, marks[i]))
            return true;
    }
    return false;
}

static void look_into_configmap(struct audit *a, const struct audit_value *v)
{
    if (v->protection != AUDIT_NONE) {
        a->configmaps_unread++;
        return;
    }
    a->config_in_configmap += holds(v->plain, "EncryptionConfiguration") &&
                              (holds(v->plain, "secret:") || holds(v->plain, "\"secret\""));
    a->secret_like += looks_secret(v->plain);
}

/* Which class a Secret has that some Pod uses. */
static void note_used(struct audit *a, const struct audit_path *p, const struct audit_value *v)
{
    struct audit_used *u;
    char room[600];
    int n = snprintf(room, sizeof(room), "%.*s/%.*s", (int)p->namespace_.n, p->namespace_.p,
                     (int)p->name.n, p->name.p);

    u = n > 0 && (size_t)n < sizeof(room) ? lh_map_get(a->used, lh_str(room)) : NULL;
    if (!u) {
        a->secrets_unused++;
        return;
    }
    a->secrets_used++;
    *u = (struct audit_used){.found = true, .protection = v->protection, .proof = AUDIT_PROVEN};
}

int audit_add(struct audit *a, const struct audit_path *p, const struct audit_value *v,
              struct lh_err *err)
{
    struct audit_group *g = NULL;
    int rc = group_of(a, p, v, &g, err);

    if (rc == 0)
        rc = note_seed(a, v, err);
    if (rc < 0)
        return rc;
    g->count++;
    if (v->revision < g->oldest)
        g->oldest = v->revision;
    if (v->revision > g->newest)
        g->newest = v->revision;
    a->objects++;
    if (strcmp(p->resource, "configmaps") == 0)
        look_into_configmap(a, v);
    if (strcmp(p->resource, "secrets") == 0)
        note_used(a, p, v);
    return 0;
}

int audit_add_external(struct audit *a, struct lh_err *err)
{
    const struct audit_value injected = {.protection = AUDIT_EXTERNAL};
    struct audit_path p = {.resource = "secrets"};
    struct audit_group *g;
    struct lh_str key;
    size_t it = 0;
    void *one;
    int rc = 0;

    while (rc == 0 && lh_map_next(a->workloads, &it, &key, &one)) {
        const struct audit_workload *w = one;

        if (!w->injected || w->sources == 0)
            continue;
        p.namespace_ = lh_str(w->namespace_);
        rc = group_of(a, &p, &injected, &g, err);
        if (rc < 0)
            break;
        g->count += w->sources;
        g->proof = AUDIT_INFERRED;
    }
    return rc;
}

static int by_group(const void *left, const void *right)
{
    const struct audit_group *a = *(struct audit_group *const *)left;
    const struct audit_group *b = *(struct audit_group *const *)right;
    int order = (strcmp(b->resource, "secrets") == 0) - (strcmp(a->resource, "secrets") == 0);

    order = order ? order : strcmp(a->resource, b->resource);
    order = order ? order : strcmp(a->namespace_, b->namespace_);
    order = order ? order : (int)a->protection - (int)b->protection;
    order = order ? order : strcmp(a->provider, b->provider);
    order = order ? order : strcmp(a->name, b->name);
    return order ? order : strcmp(a->key, b->key);
}

static int by_workload(const void *left, const void *right)
{
    const struct audit_workload *a = *(struct audit_workload *const *)left;
    const struct audit_workload *b = *(struct audit_workload *const *)right;
    int order = strcmp(a->namespace_, b->namespace_);

    order = order ? order : strcmp(a->kind, b->kind);
    return order ? order : strcmp(a->name, b->name);
}

static int sorted(const struct lh_map *m, int (*by)(const void *, const void *), struct lh_vec *out,
                  struct lh_err *err)
{
    struct lh_str key;
    size_t it = 0;
    void *one;

    while (lh_map_next(m, &it, &key, &one)) {
        if (!lh_vec_push(out, &one))
            return lh_err_nomem(err);
    }
    if (out->n)
        qsort(out->p, out->n, out->size, by);
    return 0;
}

int audit_groups(const struct audit *a, struct lh_vec *out, struct lh_err *err)
{
    return sorted(a->groups, by_group, out, err);
}

int audit_workload_list(const struct audit *a, struct lh_vec *out, struct lh_err *err)
{
    return sorted(a->workloads, by_workload, out, err);
}

void audit_counts(const struct audit *a, const char *resource, const char *namespace_,
                  uint64_t out[AUDIT_PROTECTIONS])
{
    struct lh_str key;
    size_t it = 0;
    void *one;

    memset(out, 0, AUDIT_PROTECTIONS * sizeof(*out));
    while (lh_map_next(a->groups, &it, &key, &one)) {
        const struct audit_group *g = one;

        if ((!resource || strcmp(g->resource, resource) == 0) &&
            (!namespace_ || strcmp(g->namespace_, namespace_) == 0))
            out[g->protection] += g->count;
    }
}

const char *audit_shown(const struct audit *a, const char *name, char room[256])
{
    struct lh_keyed_hash h;

    if (!a->hash_names || !*name)
        return name;
    if (lh_keyed_hash(name, strlen(name), &h, NULL) < 0)
        return "(hidden)";
    lh_hex(h.b, 6, room);
    return room;
}
