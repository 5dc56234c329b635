/* SPDX-License-Identifier: Apache-2.0 */
/* Any body: an HTTP error, or an answer that is JSON, echoes the uid and is equal the second time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/inject/inject.h"
#include "leasehold/render/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const struct lh_inject_world *w, enum lh_review_kind kind, struct lh_str body)
{
    struct lh_inject_outcome o, p;
    struct lh_admission a;
    struct lh_err err = {0};
    struct lh_buf out, again;
    lh_json *answer = NULL;
    const char *uid;

    lh_buf_init(&out, 1 << 26);
    lh_buf_init(&again, 1 << 26);
    if (lh_admission_parse(body, &a, &err) < 0) {
        if (err.http_status != 400 && err.http_status != 413)
            abort();
        return;
    }
    if (lh_inject_answer(w, kind, &a, &out, &o, &err) < 0 ||
        lh_inject_review(w, kind, body, &again, &p, &err) < 0 ||
        !lh_str_eq(lh_buf_peek(&out), lh_buf_peek(&again)) || o.verdict != p.verdict)
        abort();
    if (lh_json_parse(lh_buf_peek(&out), NULL, &answer, &err) < 0)
        abort();
    uid = lh_json_get_z(lh_json_get(answer, "response"), "uid");
    if (!uid || strcmp(uid, a.uid) != 0)
        abort();
    lh_json_unref(answer);
    lh_admission_done(&a);
    lh_buf_done(&out);
    lh_buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lh_policy *policy;
    struct lh_str body = {(const char *)data, size};
    struct lh_inject_world w;

    if (!policy) {
        lh_json_init();
        if (lh_policy_default(&policy, NULL) < 0)
            abort();
    }
    w = (struct lh_inject_world){.policy = policy, .check_template = lh_template_check};
    one(&w, LH_REVIEW_MUTATE, body);
    one(&w, LH_REVIEW_VALIDATE, body);
    return 0;
}
