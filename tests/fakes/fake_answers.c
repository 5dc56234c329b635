/* SPDX-License-Identifier: Apache-2.0 */
/* A fake: the answers of the secret manager in fake_manager.h, word for word as recorded. */
#include "fake_manager_priv.h"

#include <stdlib.h>
#include <string.h>

#define POLICY "1 error occurred:\\n\\t* permission denied\\n\\n"

struct reply *fake_reply(int status, char *body)
{
    struct reply *r = fake_alloc(sizeof(*r));

    r->status = status;
    r->body = body ? body : fake_strdup("");
    r->content_type = "application/json";
    return r;
}

struct reply *fake_error(int status, const char *text)
{
    return fake_reply(status, text ? fake_printf("{\"errors\":[\"%s\"]}\n", text)
                                   : fake_strdup("{\"errors\":[]}\n"));
}

struct envelope {
    const char *lease_id, *data, *warning, *auth;
    bool renewable;
    int64_t duration;
};

static struct reply *enveloped(int status, const struct envelope *e)
{
    char *warnings = e->warning ? fake_printf("[\"%s\"]", e->warning) : fake_strdup("null");
    char *body = fake_printf(
        "{\"request_id\":\"00000000-0000-4000-8000-000000000000\",\"lease_id\":\"%s\","
        "\"renewable\":%s,\"lease_duration\":%lld,\"data\":%s,\"wrap_info\":null,"
        "\"warnings\":%s,\"auth\":%s}\n",
        e->lease_id ? e->lease_id : "", e->renewable ? "true" : "false", (long long)e->duration,
        e->data ? e->data : "null", warnings, e->auth ? e->auth : "null");

    free(warnings);
    return fake_reply(status, body);
}

/* RFC 3339 with nanoseconds, as Go prints times. */
static void nanos(int64_t wall_ms, char out[48])
{
    char text[32];
    char *z;

    snprintf(out, 48, "%s", lh_clock_format(wall_ms, text));
    z = strchr(out, 'Z');
    if (z)
        memcpy(z, "000001Z", sizeof("000001Z"));
}

static int64_t wall_of(lh_ms at)
{
    return lh_clock_wall_ms() - (lh_clock_now() - at);
}

static const char *body_text(const struct ask *a, const char *key)
{
    const char *s = lh_json_get_z(a->body, key);

    return s ? s : "";
}

static struct reply *health(const struct ask *a)
{
    const struct fake_manager *m = a->m;
    bool standby = a->node->standby || m->sealed;

    return fake_reply(m->sealed ? 503
                      : standby ? 429
                                : 200,
                      fake_printf("{\"initialized\":true,\"sealed\":%s,\"standby\":%s,"
                                  "\"version\":\"2.7.2\"}\n",
                                  m->sealed ? "true" : "false", standby ? "true" : "false"));
}

static char *auth_block(const struct token *t, int64_t duration_s)
{
    return fake_printf("{\"client_token\":\"%s\",\"accessor\":\"%s\",\"policies\":[\"app\","
                       "\"default\"],\"token_policies\":[\"app\",\"default\"],\"metadata\":null,"
                       "\"lease_duration\":%lld,\"renewable\":%s,\"entity_id\":\"\","
                       "\"token_type\":\"%s\",\"orphan\":true,\"mfa_requirement\":null,"
                       "\"num_uses\":0}",
                       t->id, t->batch ? "" : t->accessor, (long long)duration_s,
                       t->renewable ? "true" : "false", t->batch ? "batch" : "service");
}

static struct reply *with_auth(const struct token *t, int64_t duration_s, const char *warning)
{
    char *auth = auth_block(t, duration_s);
    struct reply *r = enveloped(200, &(struct envelope){.auth = auth, .warning = warning});

    free(auth);
    return r;
}

static struct reply *login(const struct ask *a)
{
    size_t n = strlen(a->path) - strlen("auth/") - strlen("/login");
    const char *mount = a->path + strlen("auth/");
    const char *credential = body_text(a, "jwt");
    const char *role = body_text(a, "role");
    bool mounted = false;

    if (!*credential)
        credential = body_text(a, "secret_id");
    if (!*role)
        role = lh_json_get(a->body, "role_id") ? body_text(a, "role_id") : body_text(a, "name");
    for (const struct login *l = a->m->logins; l; l = l->next) {
        struct token *t;

        if (strlen(l->mount) != n || memcmp(l->mount, mount, n) != 0)
            continue;
        mounted = true;
        if ((l->role && strcmp(l->role, role) != 0) ||
            (l->credential && strcmp(l->credential, credential) != 0))
            continue;
        t = fake_token_new(a->m, l->ttl_ms, l->max_ttl_ms, l->renewable, l->batch);
        t->from_login = true;
        a->m->login_count++;
        return with_auth(t, t->expires_at ? (t->expires_at - t->issued_at) / 1000 : 0, NULL);
    }
    if (!mounted)
        return fake_error(403, "permission denied");
    return fake_error(400, "error validating token: invalid subject (sub) claim");
}

static struct reply *lookup_self(const struct ask *a)
{
    const struct token *t = a->token;
    char when[48];
    char *data, *expire;
    struct reply *r;

    nanos(wall_of(t->expires_at), when);
    expire = t->expires_at ? fake_printf("\"%s\"", when) : fake_strdup("null");
    data = fake_printf("{\"accessor\":\"%s\",\"creation_ttl\":%lld,\"expire_time\":%s,"
                       "\"explicit_max_ttl\":%lld,\"id\":\"%s\",\"renewable\":%s,\"ttl\":%lld,"
                       "\"type\":\"%s\"}",
                       t->accessor, (long long)(t->ttl_ms / 1000), expire,
                       (long long)(t->max_at ? (t->max_at - t->issued_at) / 1000 : 0), t->id,
                       t->renewable ? "true" : "false",
                       (long long)(t->expires_at ? (t->expires_at - lh_clock_now()) / 1000 : 0),
                       t->batch ? "batch" : "service");
    r = enveloped(200, &(struct envelope){.data = data});
    free(expire);
    free(data);
    return r;
}

/* What a renewal grants: the increment asked for, else the whole ttl, no more than the maximum. */
static int64_t grant(const struct ask *a, int64_t ttl_ms, lh_ms max_at, char warning[160])
{
    int64_t wanted = lh_json_get_int(a->body, "increment", 0) * 1000;
    lh_ms left = max_at - lh_clock_now();

    if (wanted <= 0)
        wanted = ttl_ms;
    *warning = '\0';
    if (max_at == 0 || wanted <= left)
        return wanted;
    snprintf(warning, 160,
             "TTL of \\\"%llds\\\" exceeded the effective max_ttl of \\\"%llds\\\"; TTL value is "
             "capped accordingly",
             (long long)(wanted / 1000), (long long)(left / 1000));
    return left;
}

static struct reply *renew_self(const struct ask *a)
{
    struct token *t = a->token;
    char warning[160];
    int64_t ms;

    if (t->batch)
        return fake_error(400, "batch tokens cannot be renewed");
    if (!t->renewable)
        return fake_error(400, "lease is not renewable");
    ms = grant(a, t->ttl_ms, t->max_at, warning);
    t->expires_at = lh_clock_now() + ms;
    return with_auth(t, ms / 1000, *warning ? warning : NULL);
}

static struct reply *revoke_self(const struct ask *a)
{
    a->token->revoked = true;
    return fake_reply(204, NULL);
}

static struct reply *revoke_accessor(const struct ask *a)
{
    const char *accessor = body_text(a, "accessor");

    for (struct token *t = a->m->tokens; t && accessor; t = t->next) {
        if (strcmp(t->accessor, accessor) != 0 || !fake_token_lives(t))
            continue;
        t->revoked = true;
        return fake_reply(204, NULL);
    }
    return enveloped(200, &(struct envelope){.warning = "No token found with this accessor"});
}

static struct reply *lease_renew(const struct ask *a)
{
    struct lease *l = fake_lease_find(a->m, body_text(a, "lease_id"));
    char warning[160];
    int64_t ms;

    if (!fake_lease_lives(l))
        return fake_error(400, "lease not found");
    if (!l->role->renewable)
        return fake_error(400, "lease is not renewable");
    ms = grant(a, l->role->ttl_ms, l->max_at, warning);
    l->expires_at = lh_clock_now() + ms;
    return enveloped(200, &(struct envelope){.lease_id = l->id,
                                             .renewable = true,
                                             .duration = ms / 1000,
                                             .warning = *warning ? warning : NULL});
}

static struct reply *lease_lookup(const struct ask *a)
{
    struct lease *l = fake_lease_find(a->m, body_text(a, "lease_id"));
    char expire[48], issue[48];
    struct reply *r;
    char *data;

    if (!fake_lease_lives(l))
        return fake_error(400, "invalid lease");
    nanos(wall_of(l->expires_at), expire);
    nanos(wall_of(l->issued_at), issue);
    data = fake_printf("{\"expire_time\":\"%s\",\"id\":\"%s\",\"issue_time\":\"%s\","
                       "\"last_renewal\":null,\"path\":\"%s\",\"renewable\":%s,\"ttl\":%lld}",
                       expire, l->id, issue, l->role->path, l->role->renewable ? "true" : "false",
                       (long long)((l->expires_at - lh_clock_now()) / 1000));
    r = enveloped(200, &(struct envelope){.data = data});
    free(data);
    return r;
}

static struct reply *lease_revoke(const struct ask *a)
{
    struct lease *l = fake_lease_find(a->m, body_text(a, "lease_id"));

    if (l)
        l->revoked = true;
    return fake_reply(204, NULL);
}

/* Asked for by anybody with a token: it hides what the token cannot reach. */
static struct reply *mount_info(const struct ask *a)
{
    const char *path = a->path + strlen("sys/internal/ui/mounts/");
    const struct mount *k = fake_mount_of(a->m, path);
    struct reply *r;
    char *data;

    if (!a->token)
        return fake_error(403, "permission denied");
    if (!k) {
        char *text = fake_printf("preflight capability check returned 403, please ensure client's "
                                 "policies grant access to path \\\"%s/\\\"",
                                 path);
        r = fake_error(403, text);
        free(text);
        return r;
    }
    data = fake_printf("{\"accessor\":\"kv_00000000\",\"options\":%s,\"path\":\"%s/\","
                       "\"type\":\"kv\"}",
                       k->version == 2 ? "{\"version\":\"2\"}" : "null", k->path);
    r = enveloped(200, &(struct envelope){.data = data});
    free(data);
    return r;
}

static char *version_meta(const struct version *v)
{
    char created[48], deleted[48] = "";

    nanos(v->wall_ms, created);
    if (v->deleted_wall_ms)
        nanos(v->deleted_wall_ms, deleted);
    return fake_printf("{\"created_time\":\"%s\",\"custom_metadata\":null,\"deletion_time\":\"%s\","
                       "\"destroyed\":%s,\"version\":%d}",
                       created, deleted, v->destroyed ? "true" : "false", v->number);
}

static struct reply *kv2_data(const struct ask *a, const struct entry *e)
{
    const struct version *v = e ? e->newest : NULL;
    int wanted = 0;
    bool gone;
    char *meta, *data;
    struct reply *r;

    if (a->query.n > 8 && memcmp(a->query.p, "version=", 8) == 0)
        wanted = atoi(a->query.p + 8);
    while (v && wanted && v->number != wanted)
        v = v->next;
    if (!v)
        return fake_error(404, NULL);
    gone = v->deleted_wall_ms || v->destroyed;
    meta = version_meta(v);
    data = fake_printf("{\"data\":%s,\"metadata\":%s}", gone ? "null" : v->json, meta);
    r = enveloped(gone ? 404 : 200, &(struct envelope){.data = data});
    free(meta);
    free(data);
    return r;
}

static struct reply *kv2_metadata(const struct entry *e)
{
    struct reply *r;
    char *meta, *data;

    if (!e)
        return fake_error(404, NULL);
    meta = version_meta(e->newest);
    data = fake_printf("{\"cas_required\":false,\"current_version\":%d,\"max_versions\":0,"
                       "\"versions\":{\"%d\":%s}}",
                       e->newest->number, e->newest->number, meta);
    r = enveloped(200, &(struct envelope){.data = data});
    free(meta);
    free(data);
    return r;
}

static struct reply *kv_read(const struct ask *a, const struct mount *k)
{
    const char *rest = a->path + strlen(k->path) + 1;
    bool data = strncmp(rest, "data/", 5) == 0, metadata = strncmp(rest, "metadata/", 9) == 0;
    const struct entry *e;
    char *path;

    if (k->version != 2) {
        e = fake_entry_find(a->m, a->path);
        return e ? enveloped(200, &(struct envelope){.data = e->newest->json, .duration = 30})
                 : fake_error(404, NULL);
    }
    if (!data && !metadata)
        return enveloped(404, &(struct envelope){
                                  .warning = "Invalid path for a versioned K/V secrets engine. See "
                                             "the API docs for the appropriate API endpoints to "
                                             "use. If using the OpenBao CLI, use 'bao kv get' for "
                                             "this operation."});
    path = fake_printf("%s/%s", k->path, rest + (data ? 5 : 9));
    e = fake_entry_find(a->m, path);
    free(path);
    return data ? kv2_data(a, e) : kv2_metadata(e);
}

static struct reply *issue(const struct ask *a, struct role *role)
{
    struct lease *l = fake_lease_new(a->m, role, a->token);
    char *data =
        fake_printf("{\"password\":\"%s\",\"username\":\"v-%s\"}", l->password, l->password + 3);
    struct reply *r =
        enveloped(200, &(struct envelope){.lease_id = l->id,
                                          .renewable = role->renewable,
                                          .duration = (l->expires_at - l->issued_at) / 1000,
                                          .data = data});

    free(data);
    return r;
}

static struct reply *static_creds(const struct special *s)
{
    lh_ms at = fake_static_rotated_at(s);
    lh_ms left = at + s->period_ms - lh_clock_now();
    char when[48], password[40];
    struct reply *r;
    char *data;

    nanos(wall_of(at), when);
    fake_static_password(s, fake_static_turn(s), password);
    data = fake_printf("{\"last_vault_rotation\":\"%s\",\"password\":\"%s\",\"rotation_period\":"
                       "%lld,\"ttl\":%lld,\"username\":\"static\"}",
                       when, password, (long long)(s->period_ms / 1000),
                       (long long)(left > 0 ? left / 1000 : 0));
    r = enveloped(200, &(struct envelope){.data = data});
    free(data);
    return r;
}

static struct reply *certificate(const struct ask *a, struct special *s)
{
    struct reply *r;
    char *data;

    if (strcmp(a->method, "GET") == 0)
        return fake_error(405, NULL);
    s->issued++;
    data = fake_printf("{\"certificate\":\"-----BEGIN CERTIFICATE-----\\nfake%u\\n-----END "
                       "CERTIFICATE-----\",\"expiration\":%lld,\"private_key\":\"fake key %u\","
                       "\"serial_number\":\"%u\"}",
                       s->issued, (long long)((lh_clock_wall_ms() + s->period_ms) / 1000),
                       s->issued, s->issued);
    r = enveloped(200, &(struct envelope){.data = data});
    free(data);
    return r;
}

static bool same_mount(const char *a, const char *b)
{
    size_t n = strcspn(a, "/");

    return strncmp(a, b, n) == 0 && b[n] == '/';
}

static struct reply *engines(const struct ask *a)
{
    const struct mount *k = fake_mount_of(a->m, a->path);
    const char *last = strrchr(a->path, '/');

    if (k)
        return kv_read(a, k);
    for (struct special *s = a->m->specials; s; s = s->next)
        if (strcmp(s->path, a->path) == 0)
            return s->kind == SPECIAL_STATIC ? static_creds(s) : certificate(a, s);
    for (struct role *r = a->m->roles; r; r = r->next)
        if (strcmp(r->path, a->path) == 0)
            return issue(a, r);
    for (struct role *r = a->m->roles; r; r = r->next)
        if (same_mount(r->path, a->path)) {
            char *text = fake_printf("unknown role: %s", last ? last + 1 : a->path);
            struct reply *reply = fake_error(400, text);

            free(text);
            return reply;
        }
    return a->token->root
               ? fake_error(404, "no handler for route \\\"x\\\". route entry not found.")
               : fake_error(403, POLICY);
}

static bool denied_path(const struct ask *a, const char *path)
{
    if (a->token->root)
        return false;
    for (const struct denial *d = a->m->denials; d; d = d->next)
        if (fake_path_fits(d->path, path))
            return true;
    return false;
}

static bool denied(const struct ask *a)
{
    return denied_path(a, a->path);
}

/* Of one path, the first of the list. */
static struct reply *capabilities(const struct ask *a)
{
    const lh_json *paths = lh_json_get(a->body, "paths");
    struct lh_str s = {"", 0};
    struct reply *r;
    char *path, *data;

    lh_json_str(lh_json_at(paths, 0), &s);
    path = fake_printf("%.*s", (int)s.n, s.p);
    data = fake_printf("{\"%s\":[%s]}", path,
                       denied_path(a, path) ? "\"deny\"" : "\"create\",\"read\",\"update\"");
    r = enveloped(200, &(struct envelope){.data = data});
    free(path);
    free(data);
    return r;
}

static const struct endpoint {
    const char *method, *path;
    struct reply *(*answer)(const struct ask *a);
} endpoints[] = {
    {"GET", "auth/token/lookup-self", lookup_self},
    {"POST", "auth/token/renew-self", renew_self},
    {"PUT", "auth/token/renew-self", renew_self},
    {"POST", "auth/token/revoke-self", revoke_self},
    {"PUT", "auth/token/revoke-self", revoke_self},
    {"PUT", "sys/leases/renew", lease_renew},
    {"POST", "sys/leases/renew", lease_renew},
    {"PUT", "sys/leases/lookup", lease_lookup},
    {"POST", "sys/leases/lookup", lease_lookup},
    {"PUT", "sys/leases/revoke", lease_revoke},
    {"POST", "sys/leases/revoke", lease_revoke},
    {"POST", "sys/capabilities-self", capabilities},
    {"POST", "auth/token/revoke-accessor", revoke_accessor},
};

static bool is_login(const char *path)
{
    size_t n = strlen(path);

    return strncmp(path, "auth/", 5) == 0 && n > 11 && strcmp(path + n - 6, "/login") == 0;
}

struct reply *fake_answer(struct ask *a)
{
    if (strcmp(a->path, "sys/health") == 0)
        return health(a);
    if (a->m->sealed)
        return fake_error(503, "Vault is sealed");
    if (is_login(a->path))
        return login(a);
    if (strncmp(a->path, "sys/internal/ui/mounts/", 23) == 0)
        return mount_info(a);
    if (!a->token)
        return fake_error(403, "permission denied");
    if (denied(a))
        return fake_error(403, POLICY);
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
        if (strcmp(endpoints[i].path, a->path) == 0 && strcmp(endpoints[i].method, a->method) == 0)
            return endpoints[i].answer(a);
    return engines(a);
}
