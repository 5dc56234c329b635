/* SPDX-License-Identifier: Apache-2.0 */
/* A template is refused with a place inside it, or it renders; both always by the same judgement.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "violated: %s\n", what);
        abort();
    }
}

static int count_lines(const char *text)
{
    int n = 1;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lh_json *values;
    struct lh_err err = {0}, render_err = {0};
    struct lh_rendered_set set = {0};
    struct lh_file_spec file = {.path = (char *)"f", .format = LH_FORMAT_TEMPLATE};
    struct lh_item it = {.name = (char *)"i", .files = &file, .n_files = 1};
    int checked, rendered, line, column;

    if (!values) {
        lh_json_init();
        must(lh_json_parse(LH_STR("{\"a\":\"1 \\u00e4\",\"b\":2.50,\"c\":[null]}"), NULL, &values,
                           NULL) == 0,
             "values parse");
    }
    file.template_ = lh_strndup((const char *)data, size);
    must(file.template_ != NULL, "memory");
    checked = lh_template_check(file.template_, &err);
    rendered = lh_render_item(&it, values, 0440, &set, &render_err);
    if (checked == 0) {
        must(rendered == 0 || rendered == -LH_E_NOTFOUND || rendered == -LH_E_TOOBIG,
             "what was accepted renders, unless a key is missing");
        must((rendered == 0) == (set.n == 1), "one file or none");
        if (rendered == 0 && !strstr(file.template_, "{{"))
            must(strcmp(lh_secret_expose(set.v[0].bytes), file.template_) == 0, "text is copied");
    } else if (checked == -LH_E_INVALID) {
        must(sscanf(err.msg, "line %d, column %d:", &line, &column) == 2, "a place is named");
        must(line >= 1 && line <= count_lines(file.template_) && column >= 1,
             "the place is inside");
        must(rendered == -LH_E_INVALID || rendered == -LH_E_NOTFOUND || rendered == -LH_E_TOOBIG,
             "what was refused does not render");
    }
    lh_rendered_set_done(&set);
    lh_free(file.template_);
    return 0;
}
