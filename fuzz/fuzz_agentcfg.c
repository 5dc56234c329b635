/* SPDX-License-Identifier: Apache-2.0 */
/* What is read, written and read again is written equal; every error has a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/api/agentcfg.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_agentcfg *c = NULL, *again = NULL;
    struct lh_err err = {0};
    struct lh_buf a, b;

    lh_json_init();
    lh_buf_init(&a, 1 << 20);
    lh_buf_init(&b, 1 << 20);
    if (lh_agentcfg_parse((struct lh_str){(const char *)data, size}, "fuzz", &c, &err) < 0) {
        if (!err.reason || !lh_reason_find(err.reason))
            abort();
        return 0;
    }
    if (lh_agentcfg_write(c, &a, &err) == 0) {
        if (lh_agentcfg_parse(lh_buf_peek(&a), "again", &again, &err) < 0 ||
            lh_agentcfg_write(again, &b, &err) < 0 || !lh_str_eq(lh_buf_peek(&a), lh_buf_peek(&b)))
            abort();
    }
    lh_agentcfg_free(c);
    lh_agentcfg_free(again);
    lh_buf_done(&a);
    lh_buf_done(&b);
    return 0;
}
