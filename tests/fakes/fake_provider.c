/* SPDX-License-Identifier: Apache-2.0 */
/* A fake, because policy is tested over hours of virtual time with every answer under control. */
#include "fake_provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

enum { MAX_PATHS = 32, MAX_LEASES = 4096, MAX_TOKENS = 1024, MAX_RULES = 16, TEXT = 96 };

struct fake_settings fake;

struct path {
    char path[TEXT], value[TEXT];
    enum lh_secret_kind kind;
    int64_t ttl, max, period, late;
    bool renewable, deleted;
    unsigned version, issued, asked[FAKE_N_OPS];
    lh_ms rotated;
};
struct lease {
    char id[TEXT + 16], user[TEXT];
    struct path *role;
    unsigned token;
    lh_ms ends, last; /* last: no renewal goes beyond */
    bool revoked;
};
struct token {
    char value[TEXT], accessor[TEXT];
    lh_ms ends, last;
    bool revoked;
};

static struct path paths[MAX_PATHS];
static struct lease leases[MAX_LEASES];
static struct token tokens[MAX_TOKENS];
static struct fake_rule rules[MAX_RULES];
static unsigned n_paths, n_leases, n_tokens, n_rules;
static unsigned asked[FAKE_N_OPS];
static lh_ms first[FAKE_N_OPS];

void fake_reset(void)
{
    n_paths = n_leases = n_tokens = n_rules = 0;
    memset(asked, 0, sizeof(asked));
    memset(first, 0, sizeof(first));
    fake = (struct fake_settings){
        .token_ttl_ms = 3600 * 1000, .token_renewable = true, .latency_ms = 1};
}

static struct path *path_find(const char *path)
{
    for (unsigned i = 0; i < n_paths; i++) {
        if (strcmp(paths[i].path, path) == 0)
            return &paths[i];
    }
    return NULL;
}

static struct path *path_make(const char *path, enum lh_secret_kind kind)
{
    struct path *p = path_find(path);

    if (!p) {
        if (n_paths == MAX_PATHS)
            abort();
        p = &paths[n_paths++];
        *p = (struct path){0};
        snprintf(p->path, sizeof(p->path), "%s", path);
    }
    p->kind = kind;
    return p;
}

void fake_role(const char *path, int64_t ttl_ms, int64_t max_ttl_ms, bool renewable)
{
    struct path *p = path_make(path, LH_KIND_LEASE);

    p->ttl = ttl_ms;
    p->max = max_ttl_ms;
    p->renewable = renewable;
}

void fake_cert(const char *path, int64_t ttl_ms)
{
    path_make(path, LH_KIND_CERTIFICATE)->ttl = ttl_ms;
}

void fake_static_rotate(const char *path)
{
    struct path *p = path_find(path);

    p->rotated = lh_clock_now();
    p->version++;
    snprintf(p->value, sizeof(p->value), "static-%u", p->version);
}

void fake_static(const char *path, int64_t period_ms, int64_t late_ms)
{
    struct path *p = path_make(path, LH_KIND_STATIC);

    p->period = period_ms;
    p->late = late_ms;
    fake_static_rotate(path);
}

void fake_kv(const char *path, const char *value)
{
    struct path *p = path_make(path, LH_KIND_KV);

    snprintf(p->value, sizeof(p->value), "%s", value);
    p->version++;
    p->deleted = false;
}

void fake_kv_delete(const char *path)
{
    path_find(path)->deleted = true;
}

void fake_rule_add(const struct fake_rule *r)
{
    if (n_rules == MAX_RULES)
        abort();
    rules[n_rules++] = *r;
}

void fake_heal(void)
{
    n_rules = 0;
}

static bool token_lives(unsigned i)
{
    return i < n_tokens && !tokens[i].revoked && lh_clock_now() < tokens[i].ends;
}

static bool lease_lives(const struct lease *l)
{
    return !l->revoked && lh_clock_now() < l->ends && token_lives(l->token);
}

void fake_revoke_tokens(void)
{
    for (unsigned i = 0; i < n_tokens; i++)
        tokens[i].revoked = true;
}

void fake_revoke_leases(void)
{
    for (unsigned i = 0; i < n_leases; i++)
        leases[i].revoked = true;
}

unsigned fake_count(enum fake_op op, const char *path)
{
    const struct path *p = path ? path_find(path) : NULL;

    return path ? p ? p->asked[op] : 0 : asked[op];
}

unsigned fake_issued(const char *path)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_paths; i++) {
        if (!path || strcmp(paths[i].path, path) == 0)
            n += paths[i].issued;
    }
    return n;
}

unsigned fake_live(const char *path)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_leases; i++) {
        if (lease_lives(&leases[i]) && (!path || strcmp(leases[i].role->path, path) == 0))
            n++;
    }
    return n;
}

unsigned fake_tokens(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_tokens; i++)
        n += token_lives(i);
    return n;
}

unsigned fake_tokens_made(void)
{
    return n_tokens;
}

struct fake_token_info fake_token_at(unsigned i)
{
    struct fake_token_info info = {.accessor = tokens[i].accessor, .alive = token_lives(i)};

    for (unsigned k = 0; k < n_leases; k++)
        info.leases += leases[k].token == i && lease_lives(&leases[k]);
    return info;
}

lh_ms fake_first(enum fake_op op)
{
    return first[op];
}

/* Rotates what was due by now, as the manager's own timer would have. */
static void rotate_due(struct path *p)
{
    while (p->kind == LH_KIND_STATIC && lh_clock_now() >= p->rotated + p->period + p->late) {
        p->rotated += p->period + p->late;
        p->version++;
        snprintf(p->value, sizeof(p->value), "static-%u", p->version);
    }
}

bool fake_works(const char *value)
{
    for (unsigned i = 0; i < n_leases; i++) {
        if (strcmp(leases[i].user, value) == 0)
            return lease_lives(&leases[i]);
    }
    for (unsigned i = 0; i < n_paths; i++) {
        rotate_due(&paths[i]);
        if (strcmp(paths[i].value, value) == 0)
            return true;
    }
    return false;
}

/* The provider: each operation is answered by a timer. */
struct lh_provider {
    struct lh_loop *loop;
    struct lh_provider_op *ops;
};

struct lh_provider_op {
    struct lh_provider *p;
    struct lh_provider_op *next;
    enum fake_op what;
    char token[TEXT], name[TEXT + 16];
    lh_ms sent_at;
    lh_prov_done_fn done;
    void *arg;
    struct lh_timer *timer;
};

static void op_free(struct lh_provider_op *op)
{
    struct lh_provider_op **at = &op->p->ops;

    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    lh_timer_free(op->timer);
    lh_free(op);
}

static void answer(struct lh_provider_op *op, const struct lh_prov_result *res,
                   const struct lh_err *err)
{
    lh_prov_done_fn done = op->done;
    void *arg = op->arg;

    op_free(op);
    done(arg, res, err);
}

static void refuse(struct lh_provider_op *op, int code, int status, const char *reason)
{
    struct lh_err err = {0};

    lh_err_fill(&err, code, "fake: %s", reason ? reason : "out of memory");
    err.reason = reason;
    err.http_status = status;
    answer(op, NULL, &err);
}

static int token_index(const struct lh_provider_op *op)
{
    for (unsigned i = 0; i < n_tokens; i++) {
        if (strcmp(tokens[i].value, op->token) == 0)
            return token_lives(i) ? (int)i : -1;
    }
    return -1;
}

static struct lease *lease_named(const struct lh_provider_op *op)
{
    for (unsigned i = 0; i < n_leases; i++) {
        if (strcmp(leases[i].id, op->name) == 0)
            return lease_lives(&leases[i]) ? &leases[i] : NULL;
    }
    return NULL;
}

static void do_login(struct lh_provider_op *op)
{
    struct lh_prov_token t = {
        .ttl_ms = fake.token_ttl_ms, .renewable = fake.token_renewable, .sent_at = op->sent_at};
    struct token *k;

    if (n_tokens == MAX_TOKENS)
        abort();
    k = &tokens[n_tokens];
    *k = (struct token){.ends = INT64_MAX, .last = INT64_MAX};
    snprintf(k->value, sizeof(k->value), "s.%u", ++n_tokens);
    snprintf(k->accessor, sizeof(k->accessor), "a.%u", n_tokens);
    t.accessor = k->accessor;
    if (fake.token_max_ms)
        k->last = lh_clock_now() + fake.token_max_ms;
    if (fake.token_ttl_ms)
        k->ends = lh_clock_now() + fake.token_ttl_ms;
    if (lh_secret_copy(k->value, strlen(k->value), &t.token, NULL) < 0) {
        refuse(op, LH_E_NOMEM, 0, NULL);
        return;
    }
    answer(op, &(struct lh_prov_result){.token = &t}, NULL);
    lh_secret_free(t.token);
}

static lh_json *user_json(const char *user)
{
    lh_json *o = lh_json_new_object();

    lh_json_set(o, "username", lh_json_new_z(user));
    lh_json_set(o, "password", lh_json_new_z(user));
    return o;
}

static void issue(struct path *p, unsigned token, struct lh_prov_read *r)
{
    struct lease *l;

    if (n_leases == MAX_LEASES)
        abort();
    l = &leases[n_leases++];
    *l = (struct lease){.role = p, .token = token, .ends = lh_clock_now() + p->ttl};
    l->last = p->max ? lh_clock_now() + p->max : INT64_MAX;
    snprintf(l->id, sizeof(l->id), "%s/%u", p->path, n_leases);
    snprintf(l->user, sizeof(l->user), "u-%u", n_leases);
    p->issued++;
    r->data = user_json(l->user);
    r->lease_id = l->id;
    r->lease_ms = p->ttl;
    r->renewable = p->renewable;
}

static void do_read(struct lh_provider_op *op)
{
    int token = token_index(op);
    struct path *p = path_find(op->name);
    struct lh_prov_read r = {.sent_at = op->sent_at, .done_at = lh_clock_now()};
    char version[16];

    if (token < 0) {
        refuse(op, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
        return;
    }
    if (!p || p->deleted) {
        refuse(op, LH_E_NOTFOUND, 404, p ? LH_REASON_SecretDeleted : LH_REASON_PathNotFound);
        return;
    }
    r.kind = p->kind;
    r.kv2_mismatch = fake.kv2_mismatch;
    rotate_due(p);
    switch (p->kind) {
    case LH_KIND_LEASE:
        issue(p, (unsigned)token, &r);
        break;
    case LH_KIND_CERTIFICATE:
        p->issued++;
        snprintf(p->value, sizeof(p->value), "cert-%u", p->issued);
        r.not_after_wall_ms = lh_clock_wall_ms() + p->ttl;
        r.data = user_json(p->value);
        break;
    case LH_KIND_STATIC:
        r.last_rotation_wall_ms = lh_clock_wall_ms() - (lh_clock_now() - p->rotated) + fake.skew_ms;
        r.rotation_period_ms = p->period;
        r.ttl_ms = (p->rotated + p->period - lh_clock_now()) / 1000 * 1000;
        if (r.ttl_ms < 0)
            r.ttl_ms = 0;
        r.data = user_json(p->value);
        break;
    case LH_KIND_KV:
        snprintf(version, sizeof(version), "%u", p->version);
        r.version = version;
        r.data = user_json(p->value);
        break;
    }
    {
        lh_json *data = lh_json_mut(r.data);

        if (!data) {
            refuse(op, LH_E_NOMEM, 0, NULL);
            return;
        }
        answer(op, &(struct lh_prov_result){.read = &r}, NULL);
        lh_json_unref(data);
    }
}

static void do_probe(struct lh_provider_op *op)
{
    struct path *p = path_find(op->name);
    struct lh_prov_version v = {0};
    char version[16];

    if (token_index(op) < 0) {
        refuse(op, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
    } else if (fake.no_probe) {
        refuse(op, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    } else {
        snprintf(version, sizeof(version), "%u", p->version);
        v.version = version;
        v.deleted = p->deleted;
        answer(op, &(struct lh_prov_result){.version = &v}, NULL);
    }
}

static void give_life(struct lh_provider_op *op, lh_ms *ends, lh_ms last, int64_t ttl, bool renew)
{
    struct lh_prov_life life = {.renewable = true, .sent_at = op->sent_at};
    lh_ms now = lh_clock_now();

    if (renew && ttl > 0) {
        *ends = now + ttl;
        life.capped = *ends > last;
        if (life.capped)
            *ends = last;
    }
    life.ttl_ms = *ends == INT64_MAX ? 0 : (*ends - now) / 1000 * 1000;
    answer(op, &(struct lh_prov_result){.life = &life}, NULL);
}

static void do_lease(struct lh_provider_op *op)
{
    struct lease *l = lease_named(op);

    if (token_index(op) < 0) {
        refuse(op, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
    } else if (op->what == FAKE_REVOKE_LEASE && fake.no_revoke) {
        refuse(op, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    } else if (op->what == FAKE_REVOKE_LEASE) {
        if (l)
            l->revoked = true;
        answer(op, &(struct lh_prov_result){0}, NULL);
    } else if (!l || fake.lie_gone) {
        refuse(op, LH_E_EXPIRED, 400, LH_REASON_LeaseExpired);
    } else {
        give_life(op, &l->ends, l->last, l->role->ttl, op->what == FAKE_RENEW_LEASE);
    }
}

static void do_token(struct lh_provider_op *op)
{
    int i = token_index(op);

    if (i < 0 || (fake.lie_dead && op->what != FAKE_REVOKE_TOKEN)) {
        refuse(op, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
    } else if (op->what == FAKE_REVOKE_TOKEN) {
        tokens[i].revoked = true;
        answer(op, &(struct lh_prov_result){0}, NULL);
    } else {
        give_life(op, &tokens[i].ends, tokens[i].last, fake.token_ttl_ms,
                  op->what == FAKE_RENEW_TOKEN);
    }
}

static void do_accessor(struct lh_provider_op *op)
{
    if (token_index(op) < 0) {
        refuse(op, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
        return;
    }
    if (fake.no_revoke) {
        refuse(op, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
        return;
    }
    for (unsigned i = 0; i < n_tokens; i++)
        tokens[i].revoked = tokens[i].revoked || strcmp(tokens[i].accessor, op->name) == 0;
    answer(op, &(struct lh_prov_result){0}, NULL);
}

static void do_health(struct lh_provider_op *op)
{
    struct lh_prov_health h = {.active = !fake.sealed, .sealed = fake.sealed, .initialised = true};

    answer(op, &(struct lh_prov_result){.health = &h}, NULL);
}

static void act(struct lh_provider_op *op)
{
    switch (op->what) {
    case FAKE_LOGIN:
        do_login(op);
        break;
    case FAKE_READ:
        do_read(op);
        break;
    case FAKE_PROBE:
        do_probe(op);
        break;
    case FAKE_RENEW_LEASE:
    case FAKE_LOOKUP_LEASE:
    case FAKE_REVOKE_LEASE:
        do_lease(op);
        break;
    case FAKE_REVOKE_ACCESSOR:
        do_accessor(op);
        break;
    case FAKE_HEALTH:
        do_health(op);
        break;
    default:
        do_token(op);
        break;
    }
}

static struct fake_rule *rule_for(const struct lh_provider_op *op)
{
    for (unsigned i = 0; i < n_rules; i++) {
        struct fake_rule *r = &rules[i];

        if (r->op != op->what || (r->path && strncmp(op->name, r->path, strlen(r->path)) != 0))
            continue;
        if (r->skip > 0) {
            r->skip--;
            continue;
        }
        if (r->times == 1)
            r->times = UINT32_MAX; /* this was the last */
        else if (r->times == UINT32_MAX)
            continue;
        else if (r->times > 1)
            r->times--;
        return r;
    }
    return NULL;
}

static void by_rule(struct lh_provider_op *op, const struct fake_rule *r)
{
    struct path *p = path_find(op->name);
    struct lh_prov_read unseen;
    struct lh_err err = {0};
    int token = token_index(op);

    if (r->act && op->what == FAKE_READ && p && token >= 0 && p->kind == LH_KIND_LEASE) {
        issue(p, (unsigned)token, &unseen);
        lh_json_unref(lh_json_mut(unseen.data));
    }
    lh_err_fill(&err, r->code, "fake: as told");
    err.reason = r->reason;
    err.http_status = r->status;
    err.retry_ms = r->retry_ms;
    err.sent = r->sent;
    answer(op, NULL, &err);
}

static void on_timer(void *arg)
{
    struct lh_provider_op *op = arg;
    struct fake_rule *r;

    if (fake.down) {
        refuse(op, LH_E_UNAVAILABLE, 0, LH_REASON_Unreachable);
        return;
    }
    if (fake.sealed && op->what != FAKE_HEALTH) {
        refuse(op, LH_E_UNAVAILABLE, 503, LH_REASON_Sealed);
        return;
    }
    r = rule_for(op);
    if (r)
        by_rule(op, r);
    else
        act(op);
}

static int start(struct lh_provider *p, enum fake_op what, const struct lh_secret *token,
                 const char *name, lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                 struct lh_err *err)
{
    struct lh_provider_op *op = lh_calloc(1, sizeof(*op));
    struct path *at = name ? path_find(name) : NULL;
    int rc;

    if (!op)
        return lh_err_nomem(err);
    rc = lh_timer_new(p->loop, on_timer, op, &op->timer, err);
    if (rc < 0) {
        lh_free(op);
        return rc;
    }
    asked[what]++;
    if (at)
        at->asked[what]++;
    if (first[what] == 0)
        first[what] = lh_clock_now();
    op->p = p;
    op->what = what;
    op->done = done;
    op->arg = arg;
    op->sent_at = lh_clock_now();
    if (token)
        snprintf(op->token, sizeof(op->token), "%s", (const char *)lh_secret_expose_const(token));
    if (name)
        snprintf(op->name, sizeof(op->name), "%s", name);
    op->next = p->ops;
    p->ops = op;
    lh_timer_in(op->timer, fake.latency_ms);
    *out = op;
    return 0;
}

static int p_open(struct lh_loop *loop, struct lh_store *store, const struct lh_identity *id,
                  struct lh_provider **out, struct lh_err *err)
{
    struct lh_provider *p = lh_calloc(1, sizeof(*p));

    (void)store;
    (void)id;
    if (!p)
        return lh_err_nomem(err);
    p->loop = loop;
    *out = p;
    return 0;
}

static void p_close(struct lh_provider *p)
{
    while (p->ops)
        op_free(p->ops);
    lh_free(p);
}

static int p_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                   struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_LOGIN, NULL, NULL, done, arg, out, err);
}

static int p_read(struct lh_provider *p, const struct lh_secret *token,
                  const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_READ, token, req->path, done, arg, out, err);
}

static int p_probe(struct lh_provider *p, const struct lh_secret *token, const char *path,
                   lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_PROBE, token, path, done, arg, out, err);
}

static int p_renew_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                         lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                         struct lh_err *err)
{
    return start(p, FAKE_RENEW_LEASE, token, id, done, arg, out, err);
}

static int p_lookup_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    return start(p, FAKE_LOOKUP_LEASE, token, id, done, arg, out, err);
}

static int p_revoke_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    return start(p, FAKE_REVOKE_LEASE, token, id, done, arg, out, err);
}

static int p_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                         void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_RENEW_TOKEN, token, NULL, done, arg, out, err);
}

static int p_lookup_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    return start(p, FAKE_LOOKUP_TOKEN, token, NULL, done, arg, out, err);
}

static int p_revoke_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    return start(p, FAKE_REVOKE_TOKEN, token, NULL, done, arg, out, err);
}

static int p_revoke_accessor(struct lh_provider *p, const struct lh_secret *token,
                             const char *accessor, lh_prov_done_fn done, void *arg,
                             struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_REVOKE_ACCESSOR, token, accessor, done, arg, out, err);
}

static int p_health(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                    struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, FAKE_HEALTH, NULL, NULL, done, arg, out, err);
}

const struct lh_provider_ops fake_provider_ops = {
    .name = "fake",
    .open = p_open,
    .close = p_close,
    .login = p_login,
    .read = p_read,
    .probe = p_probe,
    .renew_lease = p_renew_lease,
    .lookup_lease = p_lookup_lease,
    .revoke_lease = p_revoke_lease,
    .renew_token = p_renew_token,
    .lookup_token = p_lookup_token,
    .revoke_token = p_revoke_token,
    .revoke_accessor = p_revoke_accessor,
    .health = p_health,
    .cancel = op_free,
};
