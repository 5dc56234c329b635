/* SPDX-License-Identifier: Apache-2.0 */
#include "held.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

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

int cli_held_source(struct lh_loop *loop, struct lh_secret *secret /* consumed */,
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

int cli_held_file(const struct lh_secret *secret, int *fd, char path[32], struct lh_err *err)
{
    int made = memfd_create("leasehold", MFD_CLOEXEC);
    int rc;

    if (made < 0)
        return lh_err_os(err, errno, "make a memory file");
    rc = lh_fs_write_all(made, lh_secret_expose_const(secret), lh_secret_len(secret), "memory file",
                         err);
    if (rc < 0) {
        close(made);
        return rc;
    }
    snprintf(path, 32, "/proc/self/fd/%d", made);
    *fd = made;
    return 0;
}
