/* SPDX-License-Identifier: Apache-2.0 */
/* What is read, printed in any style and read again is equal. */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const lh_json *v, enum lh_json_style style)
{
    lh_json *again = NULL;
    struct lh_buf b;

    lh_buf_init(&b, 1 << 28);
    lh_json_write(v, style, &b);
    if (lh_json_parse(lh_buf_peek(&b), &(struct lh_json_limits){.max_bytes = 1 << 28}, &again,
                      NULL) < 0)
        abort();
    if (!lh_json_equal(v, again))
        abort();
    lh_json_unref(again);
    lh_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lh_json *v = NULL;
    struct lh_err err = {0};

    if (lh_json_parse((struct lh_str){(const char *)data, size}, NULL, &v, &err) < 0) {
        if (v || !err.code || !err.msg[0])
            abort();
        return 0;
    }
    round_trip(v, LH_JSON_COMPACT);
    round_trip(v, LH_JSON_SORTED);
    round_trip(v, LH_JSON_PRETTY);
    lh_json_unref(v);
    return 0;
}
