/* SPDX-License-Identifier: Apache-2.0 */
#include "kms_kit.h"

static const char *const words[] = {
    [KMS_PASSED] = "passed", [KMS_FAILED] = "failed", [KMS_SKIPPED] = "skipped"};

void kms_print_row(const struct kms_row *row, struct lh_buf *b)
{
    const struct kms_result *r = &row->result;

    lh_buf_printf(b, "%-8s %-28s%s%s\n", words[r->verdict], row->test->id, r->detail[0] ? " " : "",
                  r->detail);
    if (r->verdict == KMS_FAILED)
        lh_buf_printf(b, "         rule:   %s\n         source: %s\n", row->test->rule,
                      row->test->source);
}

static int put(lh_json *o, const char *key, const char *text)
{
    return lh_json_set(o, key, lh_json_new_z(text));
}

static int push_row(lh_json *tests, const struct kms_row *row)
{
    lh_json *o = lh_json_new_object();

    if (!o || put(o, "id", row->test->id) < 0 || put(o, "result", words[row->result.verdict]) < 0 ||
        put(o, "rule", row->test->rule) < 0 || put(o, "source", row->test->source) < 0 ||
        put(o, "detail", row->result.detail) < 0) {
        lh_json_unref(o);
        return -1;
    }
    return lh_json_push(tests, o);
}

lh_json *kms_report_json(const struct kms_kit *k, const struct kms_row *rows, size_t n,
                         const struct kms_totals *t)
{
    lh_json *o = lh_json_new_object(), *tests = lh_json_new_array();
    int rc = o && tests ? 0 : -1;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = push_row(tests, &rows[i]);
    if (rc == 0)
        rc = put(o, "socket", k->opts.socket);
    if (rc == 0) {
        rc = lh_json_set(o, "tests", lh_json_ref(tests));
        rc |= lh_json_set(o, "passed", lh_json_new_int(t->passed));
        rc |= lh_json_set(o, "failed", lh_json_new_int(t->failed));
        rc |= lh_json_set(o, "skipped", lh_json_new_int(t->skipped));
    }
    lh_json_unref(tests);
    if (rc < 0) {
        lh_json_unref(o);
        return NULL;
    }
    return o;
}
