/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/providers/provider.h"

/* A ServiceAccount token has 1 to 2 KiB; a secret id less. */
#define CREDENTIAL_MAX (64 * 1024)

struct file_source {
    struct lh_token_source base; /* first: the two are cast into each other */
    struct lh_loop *loop;
    char *path;
};

struct lh_token_op {
    struct file_source *source;
    struct lh_timer *timer;
    lh_token_done_fn done;
    void *arg;
};

static void op_free(struct lh_token_op *op)
{
    if (!op)
        return;
    lh_timer_free(op->timer);
    lh_free(op);
}

static void read_now(void *arg)
{
    struct lh_token_op *op = arg;
    lh_auto_secret struct lh_secret *secret = NULL;
    struct lh_err err = {0};
    int rc;

    rc = lh_secret_read_token(op->source->path, CREDENTIAL_MAX, &secret, &err);
    if (rc < 0)
        lh_err_reason(&err, rc, LH_REASON_CredentialMissing);
    /* An empty file is filled later, as one that is not there yet: worth another try. */
    if (rc == -LH_E_INVALID)
        err.code = LH_E_NOTFOUND;
    op->done(op->arg, rc < 0 ? NULL : secret, rc < 0 ? &err : NULL);
    op_free(op);
}

static int file_start(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                      void *arg, struct lh_token_op **out, struct lh_err *err)
{
    struct file_source *s = (struct file_source *)self;
    struct lh_token_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    (void)audience; /* whoever wrote the file chose it */
    if (!op)
        return lh_err_nomem(err);
    op->source = s;
    op->done = done;
    op->arg = arg;
    rc = lh_timer_new(s->loop, read_now, op, &op->timer, err);
    if (rc < 0) {
        lh_free(op);
        return rc;
    }
    lh_timer_in(op->timer, 0);
    *out = op;
    return 0;
}

static void file_free(struct lh_token_source *self)
{
    struct file_source *s = (struct file_source *)self;

    if (!s)
        return;
    lh_free(s->path);
    lh_free(s);
}

int lh_token_source_file(struct lh_loop *loop, const char *path, struct lh_token_source **out,
                         struct lh_err *err)
{
    struct file_source *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    s->base.start = file_start;
    s->base.cancel = op_free;
    s->base.free = file_free;
    s->loop = loop;
    s->path = lh_strdup(path);
    if (!s->path) {
        lh_free(s);
        return lh_err_nomem(err);
    }
    *out = &s->base;
    return 0;
}
