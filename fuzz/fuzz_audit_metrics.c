/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text: what is kept is a series once, and reading the text twice doubles what counts
 * and moves no time; cut off anywhere it stays in bounds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "leasehold/core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct audit_server read_times(struct lh_str text, int times)
{
    struct audit_server s = {.name = lh_strdup("fuzz")};

    lh_vec_init(&s.series, sizeof(struct audit_series));
    for (int i = 0; i < times; i++) {
        if (audit_metrics_read(text, &s, NULL) < 0)
            abort();
    }
    return s;
}

static void check(struct lh_str text)
{
    struct audit_server once = read_times(text, 1), twice = read_times(text, 2);
    double at;

    /* A text without a newline at its end is still one text. */
    if (once.series.n != twice.series.n || once.cut != twice.cut)
        abort();
    for (size_t i = 0; i < once.series.n; i++) {
        const struct audit_series *x = lh_vec_at(&once.series, i);
        const struct audit_series *y = lh_vec_at(&twice.series, i);

        if (!x->a || !x->b || x->metric >= AUDIT_METRICS || isnan(x->value))
            abort();
        for (size_t k = 0; k < i && i < 64; k++) {
            const struct audit_series *z = lh_vec_at(&once.series, k);

            if (z->metric == x->metric && strcmp(z->a, x->a) == 0 && strcmp(z->b, x->b) == 0)
                abort();
        }
        if (y->metric != x->metric || strcmp(y->a, x->a) != 0)
            abort();
    }
    audit_metrics_latency(&once, 0.99);
    audit_metrics_status(&once, NULL, &at);
    audit_server_done(&once);
    audit_server_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536)
        return 0;
    lh_mem_init();
    for (size_t n = size; n > 0; n -= 1 + n / 4) {
        lh_auto_free char *part = lh_memdup(data, n);

        check((struct lh_str){part, n});
    }
    return 0;
}
