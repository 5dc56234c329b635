/* SPDX-License-Identifier: Apache-2.0 */
/* The backend on Transit of Vault and OpenBao: one session's login, one call of lh_transit a call,
 * a breaker before them so that an outage is answered at once. */
#include <string.h>

#include "backend.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/backoff.h"
#include "leasehold/lease/session.h"
#include "leasehold/providers/transit.h"
#include "metrics.h"
#include "warn.h"

enum { BREAKER_FAILURES = 3, BREAKER_MS = 1000, CONFIG_EVERY_MS = 3600 * 1000 };

enum kind { LOOK, ENCRYPT, DECRYPT, CONFIG };

struct transit;

struct call {
    struct transit *t;
    struct call *prev, *next;
    enum kind kind;
    lh_ms answer_by;
    int64_t version, token_id;
    struct lh_secret *bytes; /* plaintext or ciphertext */
    char *aad;
    struct lh_provider_op *op; /* NULL: waits for a token */
    bool again;                /* a dead token was replaced once */
    bool answered;             /* not to be started by what its answer sets off */
    union {
        kms_facts_fn facts;
        kms_encrypted_fn encrypted;
        kms_decrypted_fn decrypted;
    } fn;
    void *arg;
};

struct transit {
    struct kms_backend base; /* first */
    struct lh_loop *loop;
    struct lh_session *session;
    struct lh_transit_name name;
    struct call *calls;
    struct lh_timer *timer; /* of calls that wait for a token */
    struct lh_breaker breaker;
    struct lh_err why; /* of the last failure, for what the breaker refuses */
    unsigned warned;
    lh_ms next_config;
};

static const char *const kinds[] = {
    [LOOK] = "read_key", [ENCRYPT] = "encrypt", [DECRYPT] = "decrypt", [CONFIG] = "read_config"};

static void start(struct call *c);

static void unlink_call(struct call *c)
{
    *(c->prev ? &c->prev->next : &c->t->calls) = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void call_free(struct call *c)
{
    unlink_call(c);
    if (c->op)
        lh_provider_vault.cancel(c->op);
    lh_secret_free(c->bytes);
    lh_free(c->aad);
    lh_free(c);
}

static void finish(struct call *c, const struct lh_transit_result *r, const struct kms_facts *f,
                   const struct lh_err *err)
{
    /* Gone from the list first: what is called may end us. */
    struct call done = *c;

    c->bytes = NULL;
    c->aad = NULL;
    call_free(c);
    kms_count_backend(kinds[done.kind], err);
    switch (done.kind) {
    case LOOK:
        done.fn.facts(done.arg, f, err);
        break;
    case ENCRYPT:
        done.fn.encrypted(done.arg, r ? r->ciphertext : (struct lh_str){NULL, 0}, err);
        break;
    case DECRYPT:
        done.fn.decrypted(done.arg, r ? r->plaintext : NULL, err);
        break;
    case CONFIG:
        break;
    }
    lh_secret_free(done.bytes);
    lh_free(done.aad);
}

static void fail(struct call *c, const struct lh_err *err)
{
    struct lh_err mine = *err;

    finish(c, NULL, NULL, &mine);
}

static void set_warnings(struct transit *t, unsigned mask, unsigned bits)
{
    unsigned now = (t->warned & ~mask) | bits;

    for (unsigned w = 0; w < KMS_N_WARNINGS; w++) {
        if (!(mask & 1u << w))
            continue;
        if (now & ~t->warned & 1u << w)
            lh_log_warn(kms_warning_text(w), LH_F_STR("warning", kms_warning_name(w)));
        kms_set_warning(kms_warning_name(w), now & 1u << w);
    }
    t->warned = now;
}

static int check_key(const struct transit *t, const struct lh_transit_key *k, struct lh_err *err)
{
    if (k->soft_deleted)
        return lh_err_set(err, LH_E_NOTFOUND, "the Transit key \"%s\" is deleted: restore it",
                          t->name.key);
    if (!k->aead || k->derived || !k->encrypts || !k->decrypts)
        return lh_err_set(err, LH_E_INVALID,
                          "the Transit key \"%s\" must be of a type that binds associated data and "
                          "not derived: make one of type aes256-gcm96",
                          t->name.key);
    return 0;
}

static void looked(struct call *c, const struct lh_transit_key *k)
{
    lh_auto_free struct kms_version *versions = lh_calloc(k->n_versions, sizeof(*versions));
    struct kms_facts f = {.versions = versions, .n = k->n_versions, .latest = k->n_versions};
    struct lh_err err = {0};

    f.min_encryption = k->min_encryption;
    if (!versions) {
        lh_err_fill(&err, LH_E_NOMEM, "out of memory");
        fail(c, &err);
        return;
    }
    for (size_t i = 0; i < k->n_versions; i++) {
        versions[i].version = k->versions[i].version;
        versions[i].created_s = k->versions[i].created_s;
        if (versions[i].version == k->latest)
            f.latest = i;
    }
    set_warnings(c->t, ~(1u << KMS_WARN_UPSERT | 1u << KMS_WARN_IN_CLUSTER), kms_warn_key(k));
    if (f.latest == f.n)
        lh_err_set(&err, LH_E_UNAVAILABLE, "the key's newest version is not among those it lists");
    else
        check_key(c->t, k, &err);
    finish(c, NULL, err.code ? NULL : &f, err.code ? &err : NULL);
}

static void answered(struct call *c, const struct lh_transit_result *r)
{
    struct transit *t = c->t;

    switch (c->kind) {
    case LOOK:
        looked(c, r->key);
        return;
    case CONFIG:
        set_warnings(t, 1u << KMS_WARN_UPSERT, r->upsert_disabled ? 0 : 1u << KMS_WARN_UPSERT);
        break;
    case ENCRYPT:
    case DECRYPT:
        break;
    }
    finish(c, r, NULL, NULL);
}

/* A dead token is no answer while there is time for another login. */
static bool try_again(struct call *c, const struct lh_err *err)
{
    if (err->code != LH_E_EXPIRED || c->again)
        return false;
    c->again = true;
    return true;
}

static void on_done(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct call *c = arg;
    struct transit *t = c->t;
    bool again = err && try_again(c, err);
    int64_t id = c->token_id;
    struct lh_err mine = err ? *err : (struct lh_err){0};

    c->op = NULL;
    c->answered = true;
    if (err && err->code == LH_E_UNAVAILABLE) {
        t->why = *err;
        lh_breaker_failed(&t->breaker, lh_clock_now());
    } else {
        lh_breaker_ok(&t->breaker);
    }
    /* First what the answer says of the login: a call that goes on needs the next one. */
    lh_session_used(t->session, id, err ? &mine : NULL);
    c->answered = !again;
    if (again)
        start(c);
    else if (err)
        fail(c, &mine);
    else
        answered(c, res->transit);
}

static int send(struct call *c, const struct lh_secret *token, unsigned ms, struct lh_err *err)
{
    struct transit *t = c->t;
    struct lh_provider *p = lh_session_provider(t->session);
    struct lh_str bytes = {NULL, 0};

    if (c->bytes)
        bytes = (struct lh_str){lh_secret_expose_const(c->bytes), lh_secret_len(c->bytes)};
    switch (c->kind) {
    case LOOK:
        return lh_transit_read_key(p, token, &t->name, ms, on_done, c, &c->op, err);
    case CONFIG:
        return lh_transit_read_config(p, token, t->name.mount, ms, on_done, c, &c->op, err);
    case ENCRYPT:
        return lh_transit_encrypt(p, token, &t->name, c->version, bytes, lh_str(c->aad), ms,
                                  on_done, c, &c->op, err);
    case DECRYPT:
        return lh_transit_decrypt(p, token, &t->name, bytes, lh_str(c->aad), ms, on_done, c, &c->op,
                                  err);
    }
    return 0;
}

static void wait_for_token(struct call *c)
{
    if (!lh_timer_is_armed(c->t->timer) || c->answer_by < lh_timer_when(c->t->timer))
        lh_timer_at(c->t->timer, c->answer_by);
}

static void start(struct call *c)
{
    struct transit *t = c->t;
    lh_ms now = lh_clock_now();
    const struct lh_secret *token = lh_session_token(t->session, &c->token_id);
    struct lh_err err = {0};
    int rc;

    if (!token) {
        wait_for_token(c);
        return;
    }
    if (!lh_breaker_allows(&t->breaker, now)) {
        fail(c, &t->why);
        return;
    }
    rc = send(c, token, c->answer_by > now ? (unsigned)(c->answer_by - now) : 1, &err);
    if (rc < 0)
        fail(c, &err);
}

static void say_no_token(struct call *c)
{
    struct lh_session_info info;
    struct lh_err err = {0};

    lh_session_info(c->t->session, &info);
    lh_err_set(&err, LH_E_UNAVAILABLE, "no login at the secret manager: %.400s",
               info.last_err ? info.last_err->msg : "it has not answered yet");
    fail(c, &err);
}

/* One a turn of the loop: what is called may add, drop, or end us. */
static void on_timer(void *arg)
{
    struct transit *t = arg;
    lh_ms now = lh_clock_now(), next = INT64_MAX;
    struct call *due = NULL;

    for (struct call *c = t->calls; c; c = c->next) {
        if (c->op || c->answered)
            continue;
        if (c->answer_by <= now)
            due = c;
        else if (c->answer_by < next)
            next = c->answer_by;
    }
    if (due)
        lh_timer_in(t->timer, 0);
    else if (next != INT64_MAX)
        lh_timer_at(t->timer, next);
    if (due)
        say_no_token(due);
}

static struct call *waiting(struct transit *t)
{
    for (struct call *c = t->calls; c; c = c->next) {
        if (!c->op && !c->answered)
            return c;
    }
    return NULL;
}

/* From the session: is there a token, is the store back? */
static void on_changed(void *arg)
{
    struct transit *t = arg;
    struct lh_session_info info;
    struct call *c;
    int64_t id;

    lh_session_info(t->session, &info);
    kms_set_token(info.has_token, info.token_ends_at);
    if (!info.in_outage && t->breaker.failures) {
        lh_breaker_ok(&t->breaker);
        if (t->base.woken)
            t->base.woken(t->base.woken_arg);
    }
    while (lh_session_token(t->session, &id)) {
        c = waiting(t);
        if (!c)
            break;
        start(c);
    }
}

static void on_failed(void *arg, struct lh_grant *g, const struct lh_err *err)
{
    (void)arg;
    (void)g;
    lh_log_warn("the login failed", LH_F_ERR(err));
}

static struct call *call_new(struct transit *t, enum kind kind, unsigned timeout_ms, void *arg)
{
    struct call *c = lh_calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->t = t;
    c->kind = kind;
    c->answer_by = lh_clock_now() + timeout_ms;
    c->arg = arg;
    c->next = t->calls;
    if (t->calls)
        t->calls->prev = c;
    t->calls = c;
    return c;
}

static void look_config(struct transit *t, unsigned timeout_ms)
{
    lh_ms now = lh_clock_now();
    struct call *c;

    if (now < t->next_config)
        return;
    t->next_config = now + CONFIG_EVERY_MS;
    c = call_new(t, CONFIG, timeout_ms, NULL);
    if (c)
        start(c);
}

static void transit_look(struct kms_backend *b, unsigned timeout_ms, kms_facts_fn fn, void *arg)
{
    struct transit *t = (struct transit *)b;
    struct call *c = call_new(t, LOOK, timeout_ms, arg);
    const struct lh_err err = {.code = LH_E_NOMEM, .msg = "out of memory"};

    if (!c) {
        fn(arg, NULL, &err);
        return;
    }
    c->fn.facts = fn;
    look_config(t, timeout_ms);
    start(c);
}

static struct call *call_with(struct transit *t, enum kind kind, const struct kms_version *v,
                              struct lh_str bytes, struct lh_str aad, unsigned timeout_ms,
                              void *arg)
{
    struct call *c = call_new(t, kind, timeout_ms, arg);

    if (!c)
        return NULL;
    c->version = v->version;
    c->aad = lh_strndup(aad.p, aad.n);
    if (c->aad && lh_secret_copy(bytes.p, bytes.n, &c->bytes, NULL) == 0)
        return c;
    call_free(c);
    return NULL;
}

static void transit_encrypt(struct kms_backend *b, const struct kms_version *v, struct lh_str plain,
                            struct lh_str aad, unsigned timeout_ms, kms_encrypted_fn fn, void *arg)
{
    struct call *c = call_with((struct transit *)b, ENCRYPT, v, plain, aad, timeout_ms, arg);
    const struct lh_err err = {.code = LH_E_NOMEM, .msg = "out of memory"};

    if (!c) {
        fn(arg, (struct lh_str){NULL, 0}, &err);
        return;
    }
    c->fn.encrypted = fn;
    start(c);
}

static void transit_decrypt(struct kms_backend *b, const struct kms_version *v,
                            struct lh_str ciphertext, struct lh_str aad, unsigned timeout_ms,
                            kms_decrypted_fn fn, void *arg)
{
    struct lh_err err = {.code = LH_E_NOMEM, .msg = "out of memory"};
    struct call *c;

    if (lh_transit_version_of(ciphertext) != v->version) {
        lh_err_set(&err, LH_E_INVALID, "the ciphertext is not of the version that its key_id says");
        fn(arg, NULL, &err);
        return;
    }
    c = call_with((struct transit *)b, DECRYPT, v, ciphertext, aad, timeout_ms, arg);
    if (!c) {
        fn(arg, NULL, &err);
        return;
    }
    c->fn.decrypted = fn;
    start(c);
}

static void transit_end(struct kms_backend *b, unsigned limit_ms, void (*done)(void *arg),
                        void *arg)
{
    lh_session_end(((struct transit *)b)->session, true, limit_ms, done, arg);
}

static void transit_free(struct kms_backend *b)
{
    struct transit *t = (struct transit *)b;

    while (t->calls)
        call_free(t->calls);
    lh_session_free(t->session);
    lh_timer_free(t->timer);
    lh_free(t);
}

static const struct kms_backend_ops transit_ops = {
    .look = transit_look,
    .encrypt = transit_encrypt,
    .decrypt = transit_decrypt,
    .end = transit_end,
    .free = transit_free,
};

static void warn_in_cluster(struct transit *t, const struct kms_transit_options *o)
{
    unsigned bits = 0;

    for (char **a = o->store->vault.addresses; *a; a++) {
        if (kms_warn_in_cluster(*a, o->service_nets))
            bits = 1u << KMS_WARN_IN_CLUSTER;
    }
    set_warnings(t, 1u << KMS_WARN_IN_CLUSTER, bits);
}

int kms_transit_new(const struct kms_transit_options *o, struct kms_backend **out,
                    struct lh_err *err)
{
    struct transit *t = lh_calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return lh_err_nomem(err);
    t->base.ops = &transit_ops;
    t->loop = o->loop;
    t->name = (struct lh_transit_name){.mount = o->mount, .key = o->key};
    t->breaker = (struct lh_breaker){.threshold = BREAKER_FAILURES, .open_ms = BREAKER_MS};
    rc = lh_timer_new(o->loop, on_timer, t, &t->timer, err);
    if (rc == 0)
        rc = lh_session_new(
            &(struct lh_session_options){
                .loop = o->loop,
                .provider = &lh_provider_vault,
                .store = o->store,
                .identity = o->identity,
                .events = {.changed = on_changed, .failed = on_failed, .arg = t}},
            &t->session, err);
    if (rc < 0) {
        transit_free(&t->base);
        return rc;
    }
    warn_in_cluster(t, o);
    lh_session_start(t->session);
    *out = &t->base;
    return 0;
}
