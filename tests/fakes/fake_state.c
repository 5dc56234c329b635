/* SPDX-License-Identifier: Apache-2.0 */
/* A fake: the state of the secret manager in fake_manager.h, on virtual time. */
#include "fake_manager_priv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void *fake_alloc(size_t n)
{
    void *p = calloc(1, n);

    if (!p)
        abort();
    return p;
}

char *fake_strdup(const char *s)
{
    char *copy = s ? strdup(s) : NULL;

    if (s && !copy)
        abort();
    return copy;
}

char *fake_printf(const char *fmt, ...)
{
    va_list ap;
    char *out;

    va_start(ap, fmt);
    if (vasprintf(&out, fmt, ap) < 0)
        abort();
    va_end(ap);
    return out;
}

bool fake_path_fits(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);

    if (n && pattern[n - 1] == '*')
        return strncmp(pattern, path, n - 1) == 0;
    return strcmp(pattern, path) == 0;
}

bool fake_token_lives(const struct token *t)
{
    return t && !t->revoked && (t->expires_at == 0 || lh_clock_now() < t->expires_at);
}

bool fake_lease_lives(const struct lease *l)
{
    return l && !l->revoked && lh_clock_now() < l->expires_at && fake_token_lives(l->token);
}

struct token *fake_token_new(struct fake_manager *m, int64_t ttl_ms, int64_t max_ttl_ms,
                             bool renewable, bool batch)
{
    struct token *t = fake_alloc(sizeof(*t));

    m->serial++;
    snprintf(t->id, sizeof(t->id), "%s.fake%020lu", batch ? "b" : "s", m->serial);
    snprintf(t->accessor, sizeof(t->accessor), "acc%020lu", m->serial);
    t->issued_at = lh_clock_now();
    t->ttl_ms = ttl_ms;
    t->max_at = max_ttl_ms ? t->issued_at + max_ttl_ms : 0;
    t->expires_at = ttl_ms ? t->issued_at + ttl_ms : 0;
    if (t->max_at && (t->expires_at == 0 || t->expires_at > t->max_at))
        t->expires_at = t->max_at;
    t->renewable = renewable && !batch;
    t->batch = batch;
    t->next = m->tokens;
    m->tokens = t;
    return t;
}

struct token *fake_token_find(const struct fake_manager *m, struct lh_str id)
{
    for (struct token *t = m->tokens; t; t = t->next)
        if (strlen(t->id) == id.n && memcmp(t->id, id.p, id.n) == 0)
            return t;
    return NULL;
}

struct lease *fake_lease_new(struct fake_manager *m, struct role *role, struct token *token)
{
    struct lease *l = fake_alloc(sizeof(*l));

    m->serial++;
    role->issued++;
    l->id = fake_printf("%s/lease%019lu", role->path, m->serial);
    snprintf(l->password, sizeof(l->password), "pw-%lu", m->serial);
    l->role = role;
    l->token = token;
    l->issued_at = lh_clock_now();
    l->max_at = role->max_ttl_ms ? l->issued_at + role->max_ttl_ms : 0;
    l->expires_at = l->issued_at + role->ttl_ms;
    if (l->max_at && l->expires_at > l->max_at)
        l->expires_at = l->max_at;
    l->next = m->leases;
    m->leases = l;
    return l;
}

struct lease *fake_lease_find(const struct fake_manager *m, const char *id)
{
    for (struct lease *l = m->leases; l; l = l->next)
        if (strcmp(l->id, id) == 0)
            return l;
    return NULL;
}

struct mount *fake_mount_of(const struct fake_manager *m, const char *path)
{
    struct mount *best = NULL;

    for (struct mount *k = m->mounts; k; k = k->next) {
        size_t n = strlen(k->path);

        if (strncmp(k->path, path, n) == 0 && path[n] == '/' && (!best || n > strlen(best->path)))
            best = k;
    }
    return best;
}

struct entry *fake_entry_find(const struct fake_manager *m, const char *path)
{
    for (struct entry *e = m->entries; e; e = e->next)
        if (strcmp(e->path, path) == 0)
            return e;
    return NULL;
}

unsigned fake_static_turn(const struct special *s)
{
    return (unsigned)((lh_clock_now() - s->start_at) / (s->period_ms + s->late_ms));
}

lh_ms fake_static_rotated_at(const struct special *s)
{
    return s->start_at + (lh_ms)fake_static_turn(s) * (s->period_ms + s->late_ms);
}

void fake_static_password(const struct special *s, unsigned turn, char out[40])
{
    snprintf(out, 40, "static-%zu-%u", strlen(s->path), turn);
}

#define FREE_LIST(type, list, ...)                                                                 \
    while (list) {                                                                                 \
        struct type *it = (list);                                                                  \
        (list) = it->next;                                                                         \
        __VA_ARGS__;                                                                               \
        free(it);                                                                                  \
    }

static void free_versions(struct version *v)
{
    FREE_LIST(version, v, free(it->json));
}

void fake_state_free(struct fake_manager *m)
{
    FREE_LIST(token, m->tokens, (void)0);
    FREE_LIST(lease, m->leases, free(it->id));
    FREE_LIST(role, m->roles, free(it->path));
    FREE_LIST(special, m->specials, free(it->path));
    FREE_LIST(entry, m->entries, free(it->path); free_versions(it->newest));
    FREE_LIST(mount, m->mounts, free(it->path));
    FREE_LIST(login, m->logins, free(it->mount); free(it->role); free(it->credential));
    FREE_LIST(denial, m->denials, free(it->path));
    FREE_LIST(fault, m->faults, (void)0);
    FREE_LIST(record, m->records, free(it->method); free(it->path));
    free(m->namespace_);
    free(m->ca_pem);
    free(m->last_body);
    m->namespace_ = m->ca_pem = m->last_body = NULL;
}

/* The parts of fake_manager.h that only set or ask for state. */

void fake_manager_login_add(struct fake_manager *m, const struct fake_login *login)
{
    struct login *l = fake_alloc(sizeof(*l));

    l->mount = fake_strdup(login->mount);
    l->role = fake_strdup(login->role);
    l->credential = fake_strdup(login->credential);
    l->ttl_ms = login->ttl_ms;
    l->max_ttl_ms = login->max_ttl_ms;
    l->renewable = !login->not_renewable;
    l->batch = login->batch;
    l->next = m->logins;
    m->logins = l;
}

const char *fake_manager_token_add(struct fake_manager *m, int64_t ttl_ms, int64_t max_ttl_ms,
                                   bool renewable)
{
    return fake_token_new(m, ttl_ms, max_ttl_ms, renewable, false)->id;
}

void fake_manager_deny(struct fake_manager *m, const char *path)
{
    struct denial *d = fake_alloc(sizeof(*d));

    d->path = fake_strdup(path);
    d->next = m->denials;
    m->denials = d;
}

void fake_manager_allow_all(struct fake_manager *m)
{
    FREE_LIST(denial, m->denials, free(it->path));
}

void fake_manager_namespace(struct fake_manager *m, const char *name)
{
    free(m->namespace_);
    m->namespace_ = fake_strdup(name);
}

void fake_manager_mount_kv(struct fake_manager *m, const char *mount, int version)
{
    struct mount *k;

    for (k = m->mounts; k; k = k->next)
        if (strcmp(k->path, mount) == 0) {
            k->version = version;
            return;
        }
    k = fake_alloc(sizeof(*k));
    k->path = fake_strdup(mount);
    k->version = version;
    k->next = m->mounts;
    m->mounts = k;
}

void fake_manager_kv_put(struct fake_manager *m, const char *path, const char *json)
{
    struct entry *e = fake_entry_find(m, path);
    struct version *v = fake_alloc(sizeof(*v));

    if (!e) {
        e = fake_alloc(sizeof(*e));
        e->path = fake_strdup(path);
        e->next = m->entries;
        m->entries = e;
    }
    v->number = e->newest ? e->newest->number + 1 : 1;
    v->json = fake_strdup(json);
    v->wall_ms = lh_clock_wall_ms();
    v->next = e->newest;
    e->newest = v;
    m->serial++;
}

void fake_manager_kv_delete(struct fake_manager *m, const char *path, bool destroy)
{
    struct entry *e = fake_entry_find(m, path);
    struct mount *k = fake_mount_of(m, path);

    if (!e)
        return;
    if (!k || k->version != 2) {
        e->path[0] = '\0'; /* KV v1 forgets */
        return;
    }
    e->newest->deleted_wall_ms = lh_clock_wall_ms();
    e->newest->destroyed = destroy;
}

void fake_manager_role_add(struct fake_manager *m, const struct fake_role *role)
{
    struct role *r = fake_alloc(sizeof(*r));

    r->path = fake_strdup(role->path);
    r->ttl_ms = role->ttl_ms;
    r->max_ttl_ms = role->max_ttl_ms;
    r->renewable = !role->not_renewable;
    r->next = m->roles;
    m->roles = r;
}

static void special_add(struct fake_manager *m, enum special_kind kind, const char *path,
                        int64_t period_ms, int64_t late_ms)
{
    struct special *s = fake_alloc(sizeof(*s));

    s->kind = kind;
    s->path = fake_strdup(path);
    s->period_ms = period_ms;
    s->late_ms = late_ms;
    s->start_at = lh_clock_now();
    s->next = m->specials;
    m->specials = s;
}

void fake_manager_static_add(struct fake_manager *m, const char *path, int64_t period_ms,
                             int64_t late_ms)
{
    special_add(m, SPECIAL_STATIC, path, period_ms, late_ms);
}

void fake_manager_cert_add(struct fake_manager *m, const char *path, int64_t ttl_ms)
{
    special_add(m, SPECIAL_CERT, path, ttl_ms, 0);
}

void fake_manager_seal(struct fake_manager *m, bool sealed)
{
    m->sealed = sealed;
}

void fake_manager_lag(struct fake_manager *m, bool lagging)
{
    m->lagging = lagging;
}

void fake_manager_revoke_token(struct fake_manager *m, const char *token)
{
    for (struct token *t = m->tokens; t; t = t->next)
        if (token ? strcmp(t->id, token) == 0 : !t->root)
            t->revoked = true;
}

void fake_manager_revoke_lease(struct fake_manager *m, const char *lease_id)
{
    for (struct lease *l = m->leases; l; l = l->next)
        if (!lease_id || strcmp(l->id, lease_id) == 0)
            l->revoked = true;
}

unsigned fake_manager_requests(const struct fake_manager *m, const char *method, const char *path)
{
    unsigned n = 0;

    for (const struct record *r = m->records; r; r = r->next)
        if ((!method || strcmp(method, r->method) == 0) && fake_path_fits(path, r->path))
            n++;
    return n;
}

unsigned fake_manager_logins(const struct fake_manager *m)
{
    return m->login_count;
}

unsigned fake_manager_issued(const struct fake_manager *m, const char *path)
{
    unsigned n = 0;

    for (const struct role *r = m->roles; r; r = r->next)
        if (!path || strcmp(path, r->path) == 0)
            n += r->issued;
    for (const struct special *s = m->specials; s; s = s->next)
        if (!path || strcmp(path, s->path) == 0)
            n += s->issued;
    return n;
}

unsigned fake_manager_live(const struct fake_manager *m, const char *path)
{
    unsigned n = 0;

    for (const struct lease *l = m->leases; l; l = l->next)
        if ((!path || strcmp(path, l->role->path) == 0) && fake_lease_lives(l))
            n++;
    return n;
}

bool fake_manager_token_alive(const struct fake_manager *m, const char *token)
{
    return fake_token_lives(fake_token_find(m, lh_str(token)));
}

bool fake_manager_password_works(const struct fake_manager *m, const char *password)
{
    char now[40];

    for (const struct lease *l = m->leases; l; l = l->next)
        if (strcmp(l->password, password) == 0)
            return fake_lease_lives(l);
    for (const struct special *s = m->specials; s; s = s->next) {
        if (s->kind != SPECIAL_STATIC)
            continue;
        fake_static_password(s, fake_static_turn(s), now);
        if (strcmp(now, password) == 0)
            return true;
    }
    return false;
}

const char *fake_manager_last_lease(const struct fake_manager *m, const char *path)
{
    for (const struct lease *l = m->leases; l; l = l->next)
        if (!path || strcmp(path, l->role->path) == 0)
            return l->id;
    return NULL;
}

const char *fake_manager_last_token(const struct fake_manager *m)
{
    for (const struct token *t = m->tokens; t; t = t->next)
        if (t->from_login)
            return t->id;
    return NULL;
}

struct lh_str fake_manager_last_body(const struct fake_manager *m)
{
    return (struct lh_str){m->last_body, m->last_body_len};
}
