/* SPDX-License-Identifier: Apache-2.0 */
/* What is read without a fault and written is read again as the same, byte for byte. */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/atrest/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct lh_atrest_config *c)
{
    struct lh_atrest_config other;
    struct lh_vec findings;
    struct lh_buf first, second;

    lh_buf_init(&first, (size_t)4 << 20);
    lh_buf_init(&second, (size_t)4 << 20);
    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    lh_atrest_config_write(c, &first);
    if (first.failed)
        abort();
    if (lh_atrest_config_read(lh_buf_peek(&first), "again", &other, &findings, NULL) < 0) {
        if (first.n <= LH_ATREST_CONFIG_MAX_BYTES)
            abort();
    } else {
        lh_atrest_config_write(&other, &second);
        if (!lh_str_eq(lh_buf_peek(&first), lh_buf_peek(&second)))
            abort();
        lh_atrest_config_done(&other);
    }
    lh_atrest_findings_done(&findings);
    lh_buf_done(&first);
    lh_buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str text = {(const char *)data, size};
    struct lh_atrest_config c;
    struct lh_vec findings;

    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    if (lh_atrest_config_read(text, "input", &c, &findings, NULL) == 0) {
        if (lh_atrest_config_lint(&c, NULL, &findings, NULL) < 0)
            abort();
        if (!lh_atrest_findings_refused(&findings))
            again(&c);
        lh_atrest_config_done(&c);
    }
    lh_atrest_findings_done(&findings);
    return 0;
}
