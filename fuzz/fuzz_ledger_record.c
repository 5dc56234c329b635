/* SPDX-License-Identifier: Apache-2.0 */
/* A record that is read is written, and read again as the same text. */
#include <stdint.h>
#include <stdlib.h>

#include "ledger_record.h"
#include "leasehold/core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger_record r = {0}, again = {0};
    struct lh_buf a, b;

    lh_json_init();
    if (ledger_record_parse((struct lh_str){(const char *)data, size}, &r, NULL) < 0)
        return 0;
    lh_buf_init(&a, 64 * 1024);
    lh_buf_init(&b, 64 * 1024);
    if (ledger_record_write(&r, &a, NULL) < 0 ||
        ledger_record_parse(lh_buf_peek(&a), &again, NULL) < 0 ||
        ledger_record_write(&again, &b, NULL) < 0 || !lh_str_eq(lh_buf_peek(&a), lh_buf_peek(&b)))
        abort();
    lh_buf_done(&a);
    lh_buf_done(&b);
    ledger_record_done(&r);
    ledger_record_done(&again);
    return 0;
}
