/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <string.h>
#include <unistd.h>

#include "held.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/inject/inject.h"
#include "leasehold/kube/client.h"
#include "leasehold/objects/objects.h"

#define SECRET_MAX ((size_t)1024 * 1024)

struct check {
    const struct check_options *o;
    struct lh_buf *out;
    struct lh_kube *kube;
    struct lh_objects *objects;
    struct lh_policy *policy;
    struct lh_store *store; /* one reference */
    struct lh_namespace ns; /* borrowed from objects */
    struct lh_subject who;
    char *path, *key; /* key NULL: none asked for */
    struct lh_identity id;
    int cert_fd, key_fd, ca_fd; /* 0: none */
    char cert_path[32], key_path[32], ca_path[32];
    const struct lh_provider_ops *ops;
    struct lh_provider *provider;
    struct lh_secret *token;

    /* Of the call that is waited for. */
    bool done;
    struct lh_err err;        /* code 0: it worked */
    struct lh_err bad_object; /* the last one that the watch told */
    struct lh_secret *answer; /* a token or a Secret's bytes */
    const char *wanted_key;
    struct lh_buf note; /* what to say of a good answer */
};

/* Until the callback came, or its time is over: then c->err says so. */
static int await(struct check *c, const char *what)
{
    lh_ms end = lh_clock_now() + c->o->timeout_ms;

    while (!c->done && lh_clock_now() < end)
        lh_loop_turn(c->o->loop, 100);
    if (!c->done) {
        lh_err_fill(&c->err, LH_E_UNAVAILABLE, "%s: no answer within %u s", what,
                    c->o->timeout_ms / 1000);
        lh_err_reason(&c->err, -LH_E_UNAVAILABLE, LH_REASON_Unreachable);
    }
    return c->err.code ? -c->err.code : 0;
}

static void begin(struct check *c)
{
    c->done = false;
    c->err = (struct lh_err){0};
    lh_buf_reset(&c->note);
}

static void ended(struct check *c, const struct lh_err *err)
{
    c->done = true;
    if (err)
        c->err = *err;
}

/* One line; after a failure what to do about it. Returns rc. */
static int step(struct check *c, const char *name, int rc)
{
    const struct lh_reason *r = c->err.reason ? lh_reason_find(c->err.reason) : NULL;

    if (rc == 0) {
        lh_buf_printf(c->out, "%-13s ok%s%s\n", name, lh_buf_peek(&c->note).n ? "  " : "",
                      lh_buf_peek(&c->note).n ? lh_buf_peek(&c->note).p : "");
        return 0;
    }
    lh_buf_printf(c->out, "%-13s FAILED  %s%s%s\n", name, r ? r->word : "", r ? ": " : "",
                  c->err.msg);
    if (r)
        lh_buf_printf(c->out, "%-13s fix: %s\n", "", r->action);
    return rc;
}

/* Stores and namespaces. */

static void bad_object(void *arg, const struct lh_err *err)
{
    struct check *c = arg;

    c->bad_object = *err;
}

static int watch(struct check *c, struct lh_err *err)
{
    const struct lh_objects_events ev = {.bad = bad_object, .arg = c};
    lh_ms end = lh_clock_now() + c->o->timeout_ms;
    int rc;

    rc = lh_objects_from_cluster(c->kube, LH_WATCH_STORES | LH_WATCH_NAMESPACES, &ev, &c->objects,
                                 err);
    if (rc < 0)
        return rc;
    while (!lh_objects_synced(c->objects) && lh_clock_now() < end)
        lh_loop_turn(c->o->loop, 100);
    if (lh_objects_synced(c->objects))
        return 0;
    return lh_err_set(err, LH_E_UNAVAILABLE,
                      "stores and namespaces could not be listed within %u s; does this user have "
                      "the right to list them?%s%s",
                      c->o->timeout_ms / 1000, c->bad_object.code ? " " : "", c->bad_object.msg);
}

static int problem(struct check *c, const struct lh_problems *ps)
{
    const struct lh_problem *p = lh_problems_denial(ps);

    if (!p)
        return lh_err_nomem(&c->err);
    lh_err_fill(&c->err, LH_E_DENIED, "%s", p->text);
    return lh_err_negative(lh_err_reason(&c->err, -LH_E_DENIED, p->reason));
}

static int find_store(struct check *c)
{
    struct lh_inject_world w = {.policy = c->policy};
    struct lh_problems ps = {0};
    struct lh_store *s = NULL;
    int rc = 0;

    begin(c);
    w.stores = lh_objects_stores(c->objects, &w.n_stores);
    if (!lh_objects_namespace(c->objects, c->o->namespace_, &c->ns)) {
        lh_err_fill(&c->err, LH_E_NOTFOUND, "there is no namespace \"%s\"", c->o->namespace_);
        return -LH_E_NOTFOUND;
    }
    s = lh_inject_choose_store(&w, &c->ns, c->o->store, &ps);
    if (!s)
        rc = problem(c, &ps);
    else
        c->store = lh_store_ref(s);
    lh_problems_done(&ps);
    if (rc == 0 && c->bad_object.code && c->o->store)
        lh_buf_printf(&c->note, "(another object is bad: %s) ", c->bad_object.msg);
    if (rc == 0)
        lh_buf_printf(&c->note, "%s \"%s\", %s", lh_store_kind(c->store), c->store->name,
                      c->store->vault.addresses[0]);
    return rc;
}

static int split_path(struct check *c)
{
    struct lh_str path, key;
    lh_auto_free char *raw = NULL;
    bool has_key = lh_str_cut(lh_str(c->o->path), '#', &path, &key);

    raw = lh_str_dup(path);
    if (!raw || (has_key && !(c->key = lh_str_dup(key))))
        return lh_err_nomem(&c->err);
    return lh_subject_expand(&c->who, raw, &c->path, &c->err);
}

static int allowed(struct check *c)
{
    int rc = 0;

    begin(c);
    if (c->o->path)
        rc = split_path(c);
    if (rc == 0)
        rc = lh_allow_role(c->store, &c->ns, &c->who, c->o->role, &c->err);
    if (rc == 0 && c->path)
        rc = lh_allow_path(c->store, &c->ns, &c->who, c->path, &c->err);
    return rc;
}

/* Credentials. */

static void token_came(void *arg, const struct lh_secret *token, const struct lh_err *err)
{
    struct check *c = arg;

    if (token)
        lh_secret_copy(lh_secret_expose_const(token), lh_secret_len(token), &c->answer, &c->err);
    ended(c, err);
}

static int request_token(struct check *c)
{
    const char *audience = c->store->vault.auth.audience;
    struct lh_kube_op *op = NULL;
    int rc;

    begin(c);
    rc = lh_kube_token_request(c->kube, c->o->namespace_, c->o->service_account, audience, 600,
                               token_came, c, &op, &c->err);
    if (rc == 0)
        rc = await(c, "token request");
    if (!c->done)
        lh_kube_cancel(op);
    if (rc < 0) {
        lh_err_wrap(&c->err, rc, "ServiceAccount \"%s\" of \"%s\"", c->o->service_account,
                    c->o->namespace_);
        return lh_err_reason(&c->err, rc, LH_REASON_CredentialMissing);
    }
    lh_buf_printf(&c->note, "for audience \"%s\"", audience);
    return cli_held_source(c->o->loop, LH_TAKE_PTR(c->answer), &c->id.credential, &c->err);
}

static int decode(struct check *c, const lh_json *obj)
{
    const lh_json *text = lh_json_path(obj, "data", c->wanted_key, NULL);
    lh_auto_buf struct lh_buf b;
    struct lh_str s;

    lh_buf_init(&b, SECRET_MAX);
    if (!lh_json_str(text, &s))
        return lh_err_set(&c->err, LH_E_NOTFOUND, "it has no key \"%s\"", c->wanted_key);
    if (strcmp(lh_json_get_z(obj, "kind") ? lh_json_get_z(obj, "kind") : "", "ConfigMap") == 0)
        return lh_secret_copy(s.p, s.n, &c->answer, &c->err);
    if (lh_base64_decode(s, &b, &c->err) < 0)
        return -c->err.code;
    s = lh_buf_peek(&b);
    return lh_secret_copy(s.p, s.n, &c->answer, &c->err);
}

static void object_came(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct check *c = arg;

    if (!err)
        decode(c, obj);
    ended(c, err);
}

/* One key of a Secret or ConfigMap, with the rights of the user who asks. */
static int fetch_key(struct check *c, const char *resource, const char *namespace_,
                     const char *name, const char *key)
{
    const struct lh_kube_resource res = {
        .group = "", .version = "v1", .resource = resource, .namespace_ = namespace_, .name = name};
    struct lh_kube_op *op = NULL;
    int rc;

    begin(c);
    c->answer = lh_secret_free(c->answer);
    c->wanted_key = key;
    rc = lh_kube_start(c->kube, "GET", &res, NULL, NULL, NULL, c->o->timeout_ms, object_came, c,
                       &op, &c->err);
    if (rc == 0)
        rc = await(c, resource);
    if (!c->done)
        lh_kube_cancel(op);
    if (rc < 0) {
        lh_err_wrap(&c->err, rc, "%s \"%s\" of namespace \"%s\"", resource, name, namespace_);
        return lh_err_reason(&c->err, rc, LH_REASON_CredentialMissing);
    }
    return 0;
}

static int fetch_file(struct check *c, const char *resource, const char *namespace_,
                      const char *name, const char *key, int *fd, char path[32])
{
    int rc = fetch_key(c, resource, namespace_, name, key);

    if (rc == 0)
        rc = cli_held_file(c->answer, fd, path, &c->err);
    c->answer = lh_secret_free(c->answer);
    return rc;
}

static int credential_of_secret(struct check *c)
{
    const struct lh_secret_ref *ref = &c->store->vault.auth.secret;
    struct lh_secret *trimmed = NULL;
    struct lh_str text;
    int rc;

    rc = fetch_key(c, "secrets", c->store->namespace_, ref->name, ref->key);
    if (rc < 0)
        return rc;
    text =
        lh_str_trim((struct lh_str){lh_secret_expose_const(c->answer), lh_secret_len(c->answer)});
    rc = lh_secret_copy(text.p, text.n, &trimmed, &c->err);
    c->answer = lh_secret_free(c->answer);
    return rc < 0 ? rc : cli_held_source(c->o->loop, trimmed, &c->id.credential, &c->err);
}

static int certificate(struct check *c)
{
    const char *name = c->store->vault.auth.secret.name, *ns = c->store->namespace_;
    int rc;

    rc = fetch_file(c, "secrets", ns, name, "tls.crt", &c->cert_fd, c->cert_path);
    if (rc == 0)
        rc = fetch_file(c, "secrets", ns, name, "tls.key", &c->key_fd, c->key_path);
    c->id.cert_file = c->cert_path;
    c->id.key_file = c->key_path;
    return rc;
}

static int credential(struct check *c)
{
    const struct lh_secret_ref *ca = &c->store->vault.ca_ref;
    int rc = 0;

    if (ca->name) {
        rc =
            fetch_file(c, "configmaps", c->o->namespace_, ca->name, ca->key, &c->ca_fd, c->ca_path);
        c->id.ca_file = c->ca_path;
    }
    if (rc < 0)
        return rc;
    switch (c->store->vault.auth.method) {
    case LH_AUTH_JWT:
    case LH_AUTH_KUBERNETES:
        return request_token(c);
    case LH_AUTH_CERT:
        return certificate(c);
    case LH_AUTH_APPROLE:
    case LH_AUTH_TOKEN:
        return credential_of_secret(c);
    }
    return lh_err_set(&c->err, LH_E_INVALID, "unknown method");
}

/* The manager. */

static void keep_token(struct check *c, const struct lh_prov_token *t)
{
    lh_secret_copy(lh_secret_expose_const(t->token), lh_secret_len(t->token), &c->token, &c->err);
    if (t->ttl_ms)
        lh_buf_printf(&c->note, "token for %lld s", (long long)(t->ttl_ms / 1000));
}

static void note_health(struct check *c, const struct lh_prov_health *h)
{
    if (h->sealed || !h->initialised) {
        lh_err_fill(&c->err, LH_E_UNAVAILABLE, "the manager is %s",
                    h->sealed ? "sealed" : "not initialised");
        lh_err_reason(&c->err, -LH_E_UNAVAILABLE, LH_REASON_Sealed);
    }
    lh_buf_put_z(&c->note, h->active ? "active" : "standby");
}

static void note_caps(struct check *c, const struct lh_prov_caps *caps)
{
    if (!caps->read) {
        lh_err_fill(&c->err, LH_E_DENIED, "the policy lets the token not read \"%s\"", caps->path);
        lh_err_reason(&c->err, -LH_E_DENIED, LH_REASON_PermissionDenied);
    }
    lh_buf_printf(&c->note, "read on \"%s\"", caps->path);
}

/* Key names only: they are what a user needs to mend a wrong one. */
static void note_keys(struct check *c, const lh_json *data)
{
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;
    bool any = false;

    if (c->key && !lh_json_get(data, c->key)) {
        lh_err_fill(&c->err, LH_E_NOTFOUND, "the secret has no key \"%.100s\"", c->key);
        lh_err_reason(&c->err, -LH_E_NOTFOUND, LH_REASON_KeyNotFound);
    }
    lh_buf_put_z(&c->note, "keys ");
    while (lh_json_next(data, &it, &key, &value) && lh_buf_peek(&c->note).n < 400) {
        lh_buf_printf(&c->note, "%s%.*s", any ? ", " : "", (int)(key.n < 64 ? key.n : 64), key.p);
        any = true;
    }
    if (c->err.code)
        lh_err_wrap(&c->err, -c->err.code, "%s", lh_buf_peek(&c->note).p);
}

static void answered(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct check *c = arg;

    if (!err && res->token)
        keep_token(c, res->token);
    if (!err && res->health)
        note_health(c, res->health);
    if (!err && res->caps)
        note_caps(c, res->caps);
    if (!err && res->read)
        note_keys(c, res->read->data);
    ended(c, err);
}

static int finish(struct check *c, int rc, struct lh_provider_op *op, const char *what)
{
    if (rc < 0)
        return rc;
    rc = await(c, what);
    if (!c->done)
        c->ops->cancel(op);
    return rc;
}

static int reach(struct check *c)
{
    struct lh_provider_op *op = NULL;
    int rc;

    begin(c);
    c->ops = lh_provider_for(c->store);
    c->id.subject = c->who;
    c->id.namespace_labels = c->ns.labels;
    c->id.role = c->o->role;
    c->id.allow_loopback = true;
    rc = c->ops->open(c->o->loop, c->store, &c->id, &c->provider, &c->err);
    if (rc == 0)
        rc = c->ops->health(c->provider, answered, c, &op, &c->err);
    return finish(c, rc, op, "health");
}

static int login(struct check *c)
{
    struct lh_provider_op *op = NULL;

    begin(c);
    return finish(c, c->ops->login(c->provider, answered, c, &op, &c->err), op, "login");
}

static int capabilities(struct check *c)
{
    struct lh_provider_op *op = NULL;
    int rc;

    begin(c);
    rc = c->ops->capabilities(c->provider, c->token, c->path, answered, c, &op, &c->err);
    return finish(c, rc, op, "capabilities");
}

static int read_path(struct check *c)
{
    const struct lh_read_request req = {.path = c->path};
    struct lh_provider_op *op = NULL;
    int rc;

    begin(c);
    rc = c->ops->read(c->provider, c->token, &req, answered, c, &op, &c->err);
    return finish(c, rc, op, "read");
}

/* Nothing is left behind: the token's leases end with it. A store's own token is not ours to end.
 */
static void end_token(struct check *c)
{
    struct lh_provider_op *op = NULL;

    if (!c->token || c->store->vault.auth.method == LH_AUTH_TOKEN)
        return;
    begin(c);
    finish(c, c->ops->revoke_token(c->provider, c->token, answered, c, &op, &c->err), op, "revoke");
}

static int steps(struct check *c)
{
    if (step(c, "store", find_store(c)) < 0 || step(c, "allow", allowed(c)) < 0 ||
        step(c, "token", credential(c)) < 0 || step(c, "reach", reach(c)) < 0 ||
        step(c, "login", login(c)) < 0)
        return -1;
    if (!c->path)
        return 0;
    return step(c, "capabilities", capabilities(c)) < 0 || step(c, "read", read_path(c)) < 0 ? -1
                                                                                             : 0;
}

static void check_done(struct check *c)
{
    const int fds[] = {c->cert_fd, c->key_fd, c->ca_fd};

    if (c->provider)
        c->ops->close(c->provider);
    if (c->id.credential)
        c->id.credential->free(c->id.credential);
    for (size_t i = 0; i < LH_ARRAY_LEN(fds); i++) {
        if (fds[i] > 0)
            close(fds[i]);
    }
    lh_secret_free(c->token);
    lh_secret_free(c->answer);
    lh_free(c->path);
    lh_free(c->key);
    lh_store_unref(c->store);
    lh_objects_free(c->objects);
    lh_policy_free(c->policy);
    lh_kube_free(c->kube);
    lh_buf_done(&c->note);
}

int check_run(const struct check_options *o, struct lh_buf *out, bool *ok, struct lh_err *err)
{
    struct check c = {.o = o, .out = out};
    int rc;

    lh_buf_init(&c.note, 4096);
    c.who = (struct lh_subject){o->cluster, o->namespace_, o->service_account};
    rc = lh_policy_default(&c.policy, err);
    if (rc == 0)
        rc = lh_kube_new(o->loop, o->kube, "leasehold/" LH_VERSION, &c.kube, err);
    if (rc == 0)
        rc = watch(&c, err);
    if (rc == 0) {
        *ok = steps(&c) == 0;
        end_token(&c);
    }
    check_done(&c);
    return rc;
}
