/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of a namespace's own account, asked from the API server for one audience and an hour. */
#include "copies.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/providers/provider.h"

enum { TOKEN_SECONDS = 3600 };

struct source {
    struct lh_token_source base; /* first: the two are cast into each other */
    struct lh_kube *kube;
    char *namespace_, *account;
};

struct lh_token_op {
    struct lh_kube_op *op;
    lh_token_done_fn done;
    void *arg;
};

static void answered(void *arg, const struct lh_secret *token, const struct lh_err *err)
{
    struct lh_token_op *op = arg;
    struct lh_err e = {0};

    if (err) {
        e = *err;
        lh_err_wrap(&e, -e.code, "token of the ServiceAccount");
        /* A mistake that a person mends, not an outage of the manager. */
        if (e.code == LH_E_NOTFOUND || e.code == LH_E_DENIED || e.code == LH_E_INVALID)
            e.reason = LH_REASON_CredentialMissing;
        e.sent = false;
    }
    op->done(op->arg, err ? NULL : token, err ? &e : NULL);
    lh_free(op);
}

static int source_start(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                        void *arg, struct lh_token_op **out, struct lh_err *err)
{
    const struct source *s = (const struct source *)self;
    struct lh_token_op *op;
    int rc;

    if (!audience || !*audience)
        return lh_err_reason(
            err, lh_err_set(err, LH_E_INVALID, "a token needs an audience: set the store's"),
            LH_REASON_AudienceInvalid);
    op = lh_calloc(1, sizeof(*op));
    if (!op)
        return lh_err_nomem(err);
    *op = (struct lh_token_op){.done = done, .arg = arg};
    rc = lh_kube_token_request(s->kube, s->namespace_, s->account, audience, TOKEN_SECONDS,
                               answered, op, &op->op, err);
    if (rc < 0) {
        lh_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

static void source_cancel(struct lh_token_op *op)
{
    if (!op)
        return;
    lh_kube_cancel(op->op);
    lh_free(op);
}

static void source_free(struct lh_token_source *self)
{
    struct source *s = (struct source *)self;

    if (!s)
        return;
    lh_free(s->namespace_);
    lh_free(s->account);
    lh_free(s);
}

int copies_token_source(struct lh_kube *kube, const char *namespace_, const char *account,
                        struct lh_token_source **out, struct lh_err *err)
{
    struct source *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    *s = (struct source){.base = {source_start, source_cancel, source_free},
                         .kube = kube,
                         .namespace_ = lh_strdup(namespace_),
                         .account = lh_strdup(account)};
    if (!s->namespace_ || !s->account) {
        source_free(&s->base);
        return lh_err_nomem(err);
    }
    *out = &s->base;
    return 0;
}
