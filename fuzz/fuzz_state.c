/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "leasehold/crypto/hash.h"
#include "leasehold/lease/state.h"

/* The agent's state over a restart. What is accepted prints to a text that parses to the same. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(struct lh_buf *b)
{
    uint8_t sum[LH_HASH_LEN];
    char hex[2 * LH_HASH_LEN + 1];
    struct lh_str all;

    lh_buf_put_c(b, 'E');
    all = lh_buf_peek(b);
    assert(lh_sha256(all.p, all.n, sum, NULL) == 0);
    lh_hex(sum, sizeof(sum), hex);
    lh_buf_put(b, hex, 2 * LH_HASH_LEN);
}

static void round_trip(struct lh_str bytes)
{
    struct lh_state a = {0}, b = {0};
    struct lh_buf first, second;

    if (lh_state_parse(bytes, "key", &a, NULL) < 0)
        return;
    lh_buf_init(&first, 2 * LH_STATE_MAX);
    lh_buf_init(&second, 2 * LH_STATE_MAX);
    assert(lh_state_write(&a, "key", &first, NULL) == 0);
    assert(lh_state_parse(lh_buf_peek(&first), "key", &b, NULL) == 0);
    assert(lh_state_write(&b, "key", &second, NULL) == 0);
    assert(lh_str_eq(lh_buf_peek(&first), lh_buf_peek(&second)));
    lh_state_done(&a);
    lh_state_done(&b);
    lh_buf_done(&first);
    lh_buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_state none = {0};
    struct lh_buf b;
    struct lh_str head;

    round_trip((struct lh_str){(const char *)data, size});
    /* Records behind a good head and before a good checksum, which no mutation would find. */
    lh_buf_init(&b, LH_STATE_MAX);
    assert(lh_state_write(&none, "key", &b, NULL) == 0);
    head = lh_buf_peek(&b);
    b.n = head.n - 1 - 2 * LH_HASH_LEN;
    lh_buf_put(&b, data, size);
    seal(&b);
    if (lh_buf_check(&b, NULL) == 0)
        round_trip(lh_buf_peek(&b));
    lh_buf_done(&b);
    return 0;
}
