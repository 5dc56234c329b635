/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "wire.h"

/* A length is only a claim: memory comes as bytes do, from here on. */
enum { FIRST_ROOM = 16384 };

void lh_grpc_reader_init(struct lh_grpc_reader *r, size_t max)
{
    *r = (struct lh_grpc_reader){.max = max};
    lh_buf_init(&r->message, 0);
}

void lh_grpc_reader_done(struct lh_grpc_reader *r)
{
    lh_buf_done(&r->message);
}

static enum lh_grpc_body fail(struct lh_grpc_reader *r, enum lh_grpc_body why)
{
    lh_buf_done(&r->message);
    r->verdict = why;
    return why;
}

static enum lh_grpc_body open_message(struct lh_grpc_reader *r)
{
    const unsigned char *p = r->prefix;

    r->want = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] > 1)
        return fail(r, LH_GRPC_BODY_BAD_FLAGS);
    if (p[0] == 1)
        return fail(r, LH_GRPC_BODY_COMPRESSED);
    if (r->want > r->max)
        return fail(r, LH_GRPC_BODY_TOO_BIG);
    lh_buf_init(&r->message, r->want);
    lh_buf_reserve(&r->message, r->want < FIRST_ROOM ? r->want : FIRST_ROOM);
    lh_buf_put(&r->message, "", 0); /* terminated also when empty */
    return lh_buf_check(&r->message, NULL) < 0 ? fail(r, LH_GRPC_BODY_NOMEM) : LH_GRPC_BODY_OK;
}

enum lh_grpc_body lh_grpc_reader_feed(struct lh_grpc_reader *r, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0 && r->verdict == LH_GRPC_BODY_OK) {
        size_t part;

        if (r->n_prefix < LH_GRPC_PREFIX_BYTES) {
            r->prefix[r->n_prefix++] = (unsigned char)*at++;
            n--;
            if (r->n_prefix == LH_GRPC_PREFIX_BYTES && open_message(r) != LH_GRPC_BODY_OK)
                break;
            continue;
        }
        part = r->want - r->message.n;
        if (part == 0)
            return fail(r, LH_GRPC_BODY_SECOND);
        if (part > n)
            part = n;
        lh_buf_put(&r->message, at, part);
        if (lh_buf_check(&r->message, NULL) < 0)
            return fail(r, LH_GRPC_BODY_NOMEM);
        at += part;
        n -= part;
    }
    return r->verdict;
}

enum lh_grpc_body lh_grpc_reader_end(struct lh_grpc_reader *r)
{
    if (r->verdict != LH_GRPC_BODY_OK)
        return r->verdict;
    if (r->n_prefix == 0)
        return fail(r, LH_GRPC_BODY_NONE);
    if (r->n_prefix < LH_GRPC_PREFIX_BYTES || r->message.n < r->want)
        return fail(r, LH_GRPC_BODY_TRUNCATED);
    return LH_GRPC_BODY_OK;
}

void lh_grpc_put_prefix(unsigned char out[LH_GRPC_PREFIX_BYTES], size_t message_bytes)
{
    out[0] = 0;
    out[1] = (unsigned char)(message_bytes >> 24);
    out[2] = (unsigned char)(message_bytes >> 16);
    out[3] = (unsigned char)(message_bytes >> 8);
    out[4] = (unsigned char)message_bytes;
}
