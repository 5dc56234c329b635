/* SPDX-License-Identifier: Apache-2.0 */
#include "run_identity.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

/* A credential that is known from the start. */
struct held_source {
    struct lh_token_source base; /* first: the two are cast into each other */
    struct lh_loop *loop;
    struct lh_secret *secret;
};

struct lh_token_op {
    struct held_source *source;
    struct lh_timer *timer;
    lh_token_done_fn done;
    void *arg;
};

static void op_cancel(struct lh_token_op *op)
{
    if (!op)
        return;
    lh_timer_free(op->timer);
    lh_free(op);
}

static void give(void *arg)
{
    struct lh_token_op *op = arg;
    const struct lh_secret *secret = op->source->secret;
    lh_token_done_fn done = op->done;
    void *done_arg = op->arg;

    op_cancel(op);
    done(done_arg, secret, NULL);
}

static int held_start(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                      void *arg, struct lh_token_op **out, struct lh_err *err)
{
    struct held_source *s = (struct held_source *)self;
    struct lh_token_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    (void)audience;
    if (!op)
        return lh_err_nomem(err);
    op->source = s;
    op->done = done;
    op->arg = arg;
    rc = lh_timer_new(s->loop, give, op, &op->timer, err);
    if (rc < 0) {
        lh_free(op);
        return rc;
    }
    lh_timer_in(op->timer, 0);
    *out = op;
    return 0;
}

static void held_free(struct lh_token_source *self)
{
    struct held_source *s = (struct held_source *)self;

    lh_secret_free(s->secret);
    lh_free(s);
}

static int held_source(struct lh_loop *loop, struct lh_secret *secret /* consumed */,
                       struct lh_token_source **out, struct lh_err *err)
{
    struct held_source *s = lh_calloc(1, sizeof(*s));

    if (!s) {
        lh_secret_free(secret);
        return lh_err_nomem(err);
    }
    s->base = (struct lh_token_source){held_start, op_cancel, held_free};
    s->loop = loop;
    s->secret = secret;
    *out = &s->base;
    return 0;
}

static int secret_of(const struct run_identity_options *o, const char *key, struct lh_secret **out,
                     struct lh_err *err)
{
    const struct lh_secret_ref *ref = &o->store->vault.auth.secret;
    int rc = lh_objects_secret(o->objects, o->store->namespace_, ref->name, key, out, err);

    if (rc < 0) {
        lh_err_wrap(err, rc, "%s \"%s\"", lh_store_kind(o->store), o->store->name);
        return lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    }
    return 0;
}

static int from_secret(struct run_identity *r, const struct run_identity_options *o,
                       struct lh_err *err)
{
    lh_auto_secret struct lh_secret *whole = NULL;
    struct lh_secret *secret = NULL;
    struct lh_str text;
    int rc = secret_of(o, o->store->vault.auth.secret.key, &whole, err);

    if (rc < 0)
        return rc;
    /* As the agent reads it from a file: a newline behind a token is an editor's, not the token's.
     */
    text = lh_str_trim((struct lh_str){lh_secret_expose_const(whole), lh_secret_len(whole)});
    rc = lh_secret_copy(text.p, text.n, &secret, err);
    return rc < 0 ? rc : held_source(o->loop, secret, &r->id.credential, err);
}

static int memory_file(const struct run_identity_options *o, const char *key, int *fd,
                       char path[32], struct lh_err *err)
{
    lh_auto_secret struct lh_secret *secret = NULL;
    int rc = secret_of(o, key, &secret, err);

    if (rc < 0)
        return rc;
    *fd = memfd_create("leasehold", MFD_CLOEXEC);
    if (*fd < 0)
        return lh_err_os(err, errno, "make a memory file");
    snprintf(path, 32, "/proc/self/fd/%d", *fd);
    return lh_fs_write_all(*fd, lh_secret_expose_const(secret), lh_secret_len(secret), key, err);
}

static int from_certificate(struct run_identity *r, const struct run_identity_options *o,
                            struct lh_err *err)
{
    int rc = memory_file(o, "tls.crt", &r->cert_fd, r->cert_path, err);

    if (rc == 0)
        rc = memory_file(o, "tls.key", &r->key_fd, r->key_path, err);
    r->id.cert_file = r->cert_path;
    r->id.key_file = r->key_path;
    return rc;
}

static int credential(struct run_identity *r, const struct run_identity_options *o,
                      struct lh_err *err)
{
    struct lh_store_auth *auth = &o->store->vault.auth;
    bool wants_jwt = auth->method == LH_AUTH_JWT || auth->method == LH_AUTH_KUBERNETES;

    if (o->token_file) {
        auth->method = LH_AUTH_TOKEN;
        return lh_token_source_file(o->loop, o->token_file, &r->id.credential, err);
    }
    if (o->jwt_file && !wants_jwt)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" logs in by another method than jwt or kubernetes: leave out "
                          "--auth-jwt-file",
                          lh_store_kind(o->store), o->store->name);
    if (wants_jwt && !o->jwt_file)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" logs in with a ServiceAccount's token: give one by "
                          "--auth-jwt-file, or a token of the manager by --auth-token-file",
                          lh_store_kind(o->store), o->store->name);
    if (wants_jwt)
        return lh_token_source_file(o->loop, o->jwt_file, &r->id.credential, err);
    return auth->method == LH_AUTH_CERT ? from_certificate(r, o, err) : from_secret(r, o, err);
}

int run_identity_init(struct run_identity *r, const struct run_identity_options *o,
                      struct lh_err *err)
{
    int rc;

    *r = (struct run_identity){.id = {.subject = o->subject,
                                      .namespace_labels = o->namespace_labels,
                                      .role = o->role,
                                      .ca_file = o->ca_file,
                                      .allow_loopback = true}};
    if (o->store->vault.ca_ref.name && !o->ca_file)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" takes its CA from a ConfigMap of the cluster: give --ca-file",
                          lh_store_kind(o->store), o->store->name);
    rc = credential(r, o, err);
    if (rc < 0)
        run_identity_done(r);
    return rc;
}

void run_identity_done(struct run_identity *r)
{
    if (r->id.credential)
        r->id.credential->free(r->id.credential);
    if (r->cert_fd > 0)
        close(r->cert_fd);
    if (r->key_fd > 0)
        close(r->key_fd);
    *r = (struct run_identity){0};
}
