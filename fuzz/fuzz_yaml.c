/* SPDX-License-Identifier: Apache-2.0 */
/* What is read, printed and read again is equal, and every error names its source. */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const lh_json *v)
{
    const struct lh_json_limits limits = {
        .max_bytes = 1 << 28, .max_keys = 1 << 24, .max_depth = 128};
    struct lh_yaml_doc *docs = NULL;
    struct lh_buf b;
    size_t n = 0;

    lh_buf_init(&b, 1 << 28);
    lh_yaml_write(v, &b);
    if (lh_yaml_parse(lh_buf_peek(&b), "again", &limits, &docs, &n, NULL) < 0)
        abort();
    if (n != 1 || !lh_json_equal(v, docs[0].value))
        abort();
    lh_yaml_free(docs, n);
    lh_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str text = {(const char *)data, size};
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err = {0};
    size_t n = 0;

    if (lh_yaml_parse(text, "input", NULL, &docs, &n, &err) < 0) {
        if (docs || (err.code != LH_E_NOMEM && strncmp(err.msg, "input:", 6) != 0))
            abort();
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        round_trip(docs[i].value);
        if (lh_yaml_line_of(text, i, "") != docs[i].line)
            abort();
        lh_yaml_line_of(text, i, "a.b[0].c[d.e]");
    }
    lh_yaml_free(docs, n);
    return 0;
}
