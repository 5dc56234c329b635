/* SPDX-License-Identifier: Apache-2.0 */
/* Thousandths and whole units of one text agree, and bytes that are printed are read again. */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/codec/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str text = {(const char *)data, size};
    int64_t milli = 0, whole = 0, again = 0;
    struct lh_buf b;
    int a, w;

    a = lh_quantity_milli(text, &milli, NULL);
    w = lh_quantity_whole(text, &whole, NULL);
    if ((a == -LH_E_INVALID) != (w == -LH_E_INVALID) || (a == 0 && w < 0))
        abort();
    if (a == 0 && whole != milli / 1000 + (milli % 1000 > 0) - (milli % 1000 < 0))
        abort();
    if (w < 0)
        return 0;
    lh_buf_init(&b, 64);
    lh_quantity_put_bytes(&b, whole);
    if (lh_quantity_whole(lh_buf_peek(&b), &again, NULL) < 0 || again != whole)
        abort();
    lh_buf_done(&b);
    return 0;
}
