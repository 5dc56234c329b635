/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head: what is accepted is printed from its parts and read again to the same. Then the
 * rest of the input as a chunked body: in one piece and byte by byte it gives the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "head.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_path(struct lh_buf *b, struct lh_str path)
{
    for (size_t i = 0; i < path.n; i++)
        lh_buf_printf(b, i == 0 ? "%c" : "%%%02x", (unsigned char)path.p[i]);
}

static bool same(struct lh_str a, struct lh_str b)
{
    return lh_str_eq(a, b);
}

static void print_again(const struct head *h)
{
    struct head again;
    struct lh_buf b;
    struct lh_str text;

    lh_buf_init(&b, 1 << 20);
    lh_buf_printf(&b, "%s ", h->method);
    put_path(&b, h->path);
    if (h->query.n) {
        lh_buf_put_c(&b, '?');
        lh_buf_put_str(&b, h->query);
    }
    lh_buf_put_z(&b, h->http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    for (size_t i = 0; i < h->n_fields; i++) {
        lh_buf_put_str(&b, h->fields[i].name);
        lh_buf_put_z(&b, ": ");
        lh_buf_put_str(&b, h->fields[i].value);
        lh_buf_put_z(&b, "\r\n");
    }
    lh_buf_put_z(&b, "\r\n");
    text = lh_buf_peek(&b);
    if (head_length(text.p, text.n, 0) != text.n || head_parse(b.p, text.n, &again) != 0)
        abort();
    if (strcmp(again.method, h->method) != 0 || !same(again.path, h->path) ||
        !same(again.query, h->query) || again.length != h->length || again.chunked != h->chunked ||
        again.keep_alive != h->keep_alive || again.n_fields != h->n_fields)
        abort();
    lh_buf_done(&b);
}

static int unframe(struct lh_str in, size_t step, struct lh_buf *out, size_t *used_all)
{
    struct chunked c = {0};
    int status = 0;

    *used_all = 0;
    while (in.n && !status && c.state != CHUNK_DONE) {
        struct lh_str piece = {in.p, in.n < step ? in.n : step}, body = {NULL, 0};
        size_t used = 0;

        status = chunked_feed(&c, piece, &used, &body);
        if (status)
            break;
        if (used > piece.n || (body.n && (body.p < piece.p || body.p + body.n > piece.p + used)))
            abort();
        lh_buf_put_str(out, body);
        in.p += used;
        in.n -= used;
        *used_all += used;
    }
    return status;
}

static void chunks(struct lh_str in)
{
    struct lh_buf whole, bytes;
    size_t n, m;
    int a, b;

    lh_buf_init(&whole, 1 << 22);
    lh_buf_init(&bytes, 1 << 22);
    a = unframe(in, SIZE_MAX, &whole, &n);
    b = unframe(in, 1, &bytes, &m);
    if (a != b || (!a && (n != m || !same(lh_buf_peek(&whole), lh_buf_peek(&bytes)))))
        abort();
    lh_buf_done(&whole);
    lh_buf_done(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = head_length((const char *)data, size, 0);
    struct head h;
    char *copy;

    if (n > HEAD_MAX_BYTES)
        return 0;
    if (n) {
        copy = lh_memdup(data, n);
        if (head_parse(copy, n, &h) == 0)
            print_again(&h);
        lh_free(copy);
    }
    chunks((struct lh_str){(const char *)data + n, size - n});
    return 0;
}
