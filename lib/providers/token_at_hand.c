/* SPDX-License-Identifier: Apache-2.0 */
/* A credential that is had without waiting, given all the same on a later turn of the loop. */
#include "leasehold/core/mem.h"
#include "leasehold/providers/token_at_hand.h"

struct source {
    struct lh_token_source base; /* first: the two are cast into each other */
    struct lh_loop *loop;
    lh_token_get_fn get;
    void (*free_arg)(void *arg);
    void *arg;
};

struct lh_token_op {
    struct source *source;
    struct lh_timer *timer;
    char *audience;
    lh_token_done_fn done;
    void *arg;
};

static void op_free(struct lh_token_op *op)
{
    if (!op)
        return;
    lh_timer_free(op->timer);
    lh_free(op->audience);
    lh_free(op);
}

static void answer(void *arg)
{
    struct lh_token_op *op = arg;
    lh_auto_secret struct lh_secret *secret = NULL;
    struct lh_err err = {0};
    int rc = op->source->get(op->source->arg, op->audience, &secret, &err);

    op->done(op->arg, rc < 0 ? NULL : secret, rc < 0 ? &err : NULL);
    op_free(op);
}

static int source_start(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                        void *arg, struct lh_token_op **out, struct lh_err *err)
{
    struct source *s = (struct source *)self;
    struct lh_token_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    if (!op)
        return lh_err_nomem(err);
    op->source = s;
    op->done = done;
    op->arg = arg;
    op->audience = audience ? lh_strdup(audience) : NULL;
    rc = audience && !op->audience ? lh_err_nomem(err)
                                   : lh_timer_new(s->loop, answer, op, &op->timer, err);
    if (rc < 0) {
        op_free(op);
        return rc;
    }
    lh_timer_in(op->timer, 0);
    *out = op;
    return 0;
}

static void source_free(struct lh_token_source *self)
{
    struct source *s = (struct source *)self;

    if (!s)
        return;
    s->free_arg(s->arg);
    lh_free(s);
}

int lh_token_source_at_hand(struct lh_loop *loop, lh_token_get_fn get, void (*free_arg)(void *arg),
                            void *arg, struct lh_token_source **out, struct lh_err *err)
{
    struct source *s = lh_calloc(1, sizeof(*s));

    if (!s) {
        free_arg(arg);
        return lh_err_nomem(err);
    }
    *s = (struct source){
        .base = {source_start, op_free, source_free},
        .loop = loop,
        .get = get,
        .free_arg = free_arg,
        .arg = arg,
    };
    *out = &s->base;
    return 0;
}
