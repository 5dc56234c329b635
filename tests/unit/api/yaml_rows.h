/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_API_YAML_ROWS_H
#define LH_TEST_API_YAML_ROWS_H

/* Rows that hold YAML. */
#include <stdio.h>
#include <string.h>

#include "leasehold/codec/json.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "rows.h"

/* The first document of a YAML text; owned. */
static inline lh_json *yaml(const char *text)
{
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err = {0};
    lh_json *v;
    size_t n = 0;

    if (lh_yaml_parse(lh_str(text), "test", NULL, &docs, &n, &err) < 0)
        fail_msg("%s", err.msg);
    v = n ? lh_json_ref(docs[0].value) : NULL;
    lh_yaml_free(docs, n);
    return v;
}

#define assert_says(err, part)                                                                     \
    do {                                                                                           \
        if (!strstr((err).msg, (part)))                                                            \
            fail_msg("\"%s\" does not say \"%s\"", (err).msg, (part));                             \
    } while (0)

#endif
