/* SPDX-License-Identifier: Apache-2.0 */
/* A Pod as etcd has it: whatever the bytes are, it is JSON that prints and parses to itself, and
 * the audit takes it; cut off anywhere it stays in bounds. */
#include <stdint.h>
#include <stdlib.h>

#include "audit.h"
#include "leasehold/core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const lh_json *pod)
{
    struct audit a;

    if (audit_init(&a, NULL) < 0 || audit_take_pod(&a, pod, NULL) < 0 ||
        audit_add_external(&a, NULL) < 0 || lh_map_len(a.workloads) > 1)
        abort();
    audit_done(&a);
}

static void check(struct lh_str stored)
{
    lh_auto_json lh_json *pod = NULL, *again = NULL;
    struct lh_buf b;

    if (audit_stored_pod(stored, &pod, NULL) < 0) {
        if (pod)
            abort();
        return;
    }
    lh_buf_init(&b, (size_t)8 << 20);
    lh_json_write(pod, LH_JSON_COMPACT, &b);
    if (lh_json_parse(lh_buf_peek(&b), NULL, &again, NULL) < 0 || !lh_json_equal(pod, again))
        abort();
    lh_buf_done(&b);
    take(pod);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    lh_mem_init();
    lh_json_init();
    /* On the heap, so that a byte too far is seen. */
    for (size_t n = size; n > 0; n -= 1 + n / 8) {
        lh_auto_free char *part = lh_memdup(data, n);

        check((struct lh_str){part, n});
    }
    return 0;
}
