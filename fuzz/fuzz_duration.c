/* SPDX-License-Identifier: Apache-2.0 */
/* What is read and printed is read again to the same. */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/codec/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t ms = 0, again = 0;
    struct lh_buf b;

    if (lh_duration_ms((struct lh_str){(const char *)data, size}, &ms, NULL) < 0)
        return 0;
    if (ms < 0)
        abort();
    lh_buf_init(&b, 64);
    lh_duration_put(&b, ms);
    /* The largest one is rounded up past what Go's nanoseconds hold. */
    if (ms < INT64_MAX / 1000000 &&
        (lh_duration_ms(lh_buf_peek(&b), &again, NULL) < 0 || again != ms))
        abort();
    lh_buf_done(&b);
    return 0;
}
