/* SPDX-License-Identifier: Apache-2.0 */
/* A body means the same however it is cut; a status text that went over the wire comes back. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_however_cut(const uint8_t *data, size_t size)
{
    struct lh_grpc_reader whole, parts;
    enum lh_grpc_body a, b;

    lh_grpc_reader_init(&whole, 4096);
    lh_grpc_reader_init(&parts, 4096);
    lh_grpc_reader_feed(&whole, data, size);
    for (size_t i = 0; i < size; i++)
        lh_grpc_reader_feed(&parts, data + i, 1);
    a = lh_grpc_reader_end(&whole);
    b = lh_grpc_reader_end(&parts);
    assert(a == b);
    assert(whole.message.n == parts.message.n);
    assert(a != LH_GRPC_BODY_OK || whole.message.n == size - LH_GRPC_PREFIX_BYTES);
    lh_grpc_reader_done(&whole);
    lh_grpc_reader_done(&parts);
}

static void comes_back(struct lh_str text)
{
    char once[4096], twice[4096];
    struct lh_buf wire;

    lh_grpc_percent_decode(text, once, LH_GRPC_TEXT_MAX);
    assert(lh_str_is_utf8(lh_str(once)));
    lh_buf_init(&wire, 8192);
    lh_grpc_percent_encode(&wire, lh_str(once));
    lh_grpc_percent_decode(lh_buf_peek(&wire), twice, sizeof(twice));
    assert(strcmp(once, twice) == 0);
    lh_buf_done(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str text = {(const char *)data, size};
    lh_ms timeout = -1;

    same_however_cut(data, size);
    comes_back(text);
    assert(lh_grpc_timeout_parse(text, &timeout) == (timeout >= 0));
    return 0;
}
