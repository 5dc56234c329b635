/* SPDX-License-Identifier: Apache-2.0 */
/* AdmissionReview v1 in and out (k8s.io/api/admission/v1). */
#include <stdio.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"

#define ANSWER_MAX     ((size_t)16 * 1024 * 1024)
#define LENIENT_DEPTH  512 /* to find the uid of a request that is refused for its depth */
#define USUAL_PATCH    8192
#define DENIED_CODE    403
#define MALFORMED_CODE 400

void lh_admission_done(struct lh_admission *a)
{
    lh_json_unref(a->root);
    *a = (struct lh_admission){0};
}

static int refuse(struct lh_err *err, int code, int http_status, const char *reason,
                  const char *text)
{
    lh_err_fill(err, code, "%s", text);
    if (err)
        err->http_status = http_status;
    return lh_err_negative(lh_err_reason(err, -code, reason));
}

static int bad_request(struct lh_err *err, const char *text)
{
    return refuse(err, LH_E_INVALID, 400, LH_REASON_RequestInvalid, text);
}

static int body_parse(struct lh_str body, struct lh_admission *a, struct lh_err *err)
{
    const struct lh_json_limits limits = {.max_bytes = LH_ADMISSION_MAX,
                                          .max_depth = LH_ADMISSION_DEPTH};
    const struct lh_json_limits lenient = {
        .max_bytes = LH_ADMISSION_MAX, .max_depth = LENIENT_DEPTH, .max_keys = 10000000};
    struct lh_err why = {0};
    int rc;

    if (body.n > LH_ADMISSION_MAX)
        return refuse(err, LH_E_TOOBIG, 413, LH_REASON_TooLarge,
                      "an admission request may have at most 3 MiB");
    rc = lh_json_parse(body, &limits, &a->root, &why);
    if (rc == -LH_E_TOOBIG) {
        /* Answered with its uid: HTTP errors reach nobody who could act on them. */
        refuse(&a->refused, LH_E_TOOBIG, 0, LH_REASON_TooLarge,
               "the object is nested deeper than 64 levels, or has too many members");
        rc = lh_json_parse(body, &lenient, &a->root, &why);
    }
    if (rc == -LH_E_NOMEM)
        return lh_err_nomem(err);
    if (rc < 0) {
        lh_err_wrap(&why, rc, "the body is no JSON that can be read");
        return bad_request(err, why.msg);
    }
    return 0;
}

static int request_parse(struct lh_admission *a, struct lh_err *err)
{
    const char *kind = lh_json_get_z(a->root, "kind");
    const char *version = lh_json_get_z(a->root, "apiVersion");
    const lh_json *request = lh_json_get(a->root, "request");
    const lh_json *group = lh_json_get(request, "kind");

    if (!kind || strcmp(kind, "AdmissionReview") != 0)
        return bad_request(err, "kind must be AdmissionReview");
    if (!version || strcmp(version, "admission.k8s.io/v1") != 0)
        return bad_request(err, "apiVersion must be admission.k8s.io/v1");
    if (lh_json_type(request) != LH_JSON_OBJECT)
        return bad_request(err, "request must be an object");
    a->uid = lh_json_get_z(request, "uid");
    if (!a->uid || !*a->uid || strlen(a->uid) > 253)
        return bad_request(err, "request.uid must be text of 1 to 253 bytes");
    a->kind = lh_json_get_z(group, "kind");
    a->operation = lh_json_get_z(request, "operation");
    a->namespace_ = lh_json_get_z(request, "namespace");
    a->object = lh_json_get(request, "object");
    if (!a->kind || !a->operation)
        return bad_request(err, "request.kind and request.operation are required");
    return 0;
}

int lh_admission_parse(struct lh_str body, struct lh_admission *out, struct lh_err *err)
{
    struct lh_admission a = {0};
    int rc;

    rc = body_parse(body, &a, err);
    if (rc == 0)
        rc = request_parse(&a, err);
    if (rc < 0) {
        lh_admission_done(&a);
        return rc;
    }
    *out = a;
    return 0;
}

/* What one review comes to, before it is written. */
struct answer {
    lh_json *patch; /* NULL: none */
    struct lh_problems problems;
    int code;
};

/* A workload is no Pod yet: what only the store has to mend may be mended before there is one. */
static void soften(struct lh_problems *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        if (ps->v[i].of_store)
            ps->v[i].deny = false;
    }
}

static bool is_looked_at(const struct lh_admission *a, enum lh_review_kind kind)
{
    bool pod = strcmp(a->kind, "Pod") == 0, create = strcmp(a->operation, "CREATE") == 0;

    if (kind == LH_REVIEW_MUTATE)
        return pod && create;
    return create || strcmp(a->operation, "UPDATE") == 0;
}

static int judge(const struct lh_inject_world *w, enum lh_review_kind kind,
                 const struct lh_admission *a, struct answer *out, struct lh_err *err)
{
    struct lh_inject_plan *plan = NULL;
    struct lh_pod_at pod;
    int rc = 0;

    if (a->refused.code) {
        problem_add_err(&out->problems, "request", LH_REASON_TooLarge, false, &a->refused);
        return 0;
    }
    if (!is_looked_at(a, kind) || !lh_pod_at(a->object, &pod))
        return 0;
    if (strcmp(pod.kind, a->kind) != 0) {
        out->code = MALFORMED_CODE;
        problem_add(&out->problems, "request.object", LH_REASON_RequestInvalid, true,
                    "the object's kind is another than the request's");
        return 0;
    }
    if (a->namespace_ && strcmp(lh_pod_namespace(&pod, a->namespace_), a->namespace_) != 0) {
        out->code = MALFORMED_CODE;
        problem_add(&out->problems, "request.object", LH_REASON_RequestInvalid, true,
                    "the object's namespace is another than the request's");
        return 0;
    }
    if (lh_json_type(pod.spec) != LH_JSON_OBJECT)
        return 0; /* the API server's own validation says what is missing */
    if (kind == LH_REVIEW_VALIDATE)
        rc = lh_inject_check_outer(&pod, &out->problems, err);
    if (rc == 0)
        rc = lh_inject_plan(w, &pod, a->namespace_, &plan, &out->problems, err);
    if (rc == 0 && plan)
        rc = lh_inject_patch(plan, &pod, &out->patch, &out->problems, err);
    lh_inject_plan_free(plan);
    if (rc == 0 && kind == LH_REVIEW_VALIDATE)
        soften(&out->problems);
    if (kind == LH_REVIEW_VALIDATE || lh_problems_denial(&out->problems)) {
        lh_json_unref(out->patch);
        out->patch = NULL;
    }
    return rc;
}

/* Straight to text: the patch is most of the answer, and one copy of it is enough. */
static int put_patch(struct lh_buf *out, const lh_json *patch, struct lh_err *err)
{
    lh_auto_buf struct lh_buf text;
    int rc;

    lh_buf_init(&text, ANSWER_MAX);
    if (!lh_json_len(patch))
        return 0;
    lh_buf_reserve(&text, USUAL_PATCH);
    lh_json_write(patch, LH_JSON_COMPACT, &text);
    rc = lh_buf_check(&text, err);
    if (rc < 0)
        return rc;
    lh_buf_reserve(out, lh_buf_peek(&text).n * 4 / 3 + 256);
    lh_buf_put_z(out, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
    lh_base64_put(out, lh_buf_peek(&text).p, lh_buf_peek(&text).n);
    lh_buf_put_c(out, '"');
    return 0;
}

static int put_status(struct lh_buf *out, const struct lh_problem *denial, int code,
                      struct lh_err *err)
{
    lh_auto_free char *text = lh_problem_text(denial);

    if (!text)
        return lh_err_nomem(err);
    lh_buf_put_z(out, ",\"status\":{\"status\":\"Failure\",\"message\":");
    lh_json_write_str(lh_str(text), out);
    lh_buf_printf(out, ",\"reason\":\"%s\",\"code\":%d}", denial->reason, code);
    return 0;
}

/* Everything but the denial itself: whoever applies it sees all of it at once. */
static int put_warnings(struct lh_buf *out, const struct lh_problems *ps,
                        const struct lh_problem *denial, struct lh_err *err)
{
    bool any = false;

    for (size_t i = 0; i < ps->n; i++) {
        lh_auto_free char *text = NULL;

        if (&ps->v[i] == denial)
            continue;
        text = lh_problem_text(&ps->v[i]);
        if (!text)
            return lh_err_nomem(err);
        lh_buf_put_z(out, any ? "," : ",\"warnings\":[");
        lh_json_write_str(lh_str(text), out);
        any = true;
    }
    if (any)
        lh_buf_put_c(out, ']');
    return 0;
}

static int write_answer(const struct lh_admission *a, const struct answer *ans, struct lh_buf *out,
                        struct lh_err *err)
{
    const struct lh_problem *denial = lh_problems_denial(&ans->problems);
    int rc;

    lh_buf_put_z(out, "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\","
                      "\"response\":{\"uid\":");
    lh_json_write_str(lh_str(a->uid), out);
    lh_buf_printf(out, ",\"allowed\":%s", denial ? "false" : "true");
    rc = denial ? put_status(out, denial, ans->code ? ans->code : DENIED_CODE, err)
                : put_patch(out, ans->patch, err);
    if (rc == 0)
        rc = put_warnings(out, &ans->problems, denial, err);
    if (rc < 0)
        return rc;
    lh_buf_put_z(out, "}}");
    return lh_buf_check(out, err);
}

static void fill_outcome(const struct answer *ans, struct lh_inject_outcome *out)
{
    const struct lh_problem *denial = lh_problems_denial(&ans->problems);

    *out = (struct lh_inject_outcome){.verdict = LH_VERDICT_UNCHANGED};
    out->wanted = ans->problems.wanted;
    out->namespace_unknown = ans->problems.namespace_unknown && ans->problems.n;
    for (size_t i = 0; i < ans->problems.n && !out->reason; i++)
        out->reason = ans->problems.v[i].reason;
    if (denial) {
        out->verdict = LH_VERDICT_DENIED;
        out->reason = denial->reason;
    } else if (lh_json_len(ans->patch)) {
        out->verdict = LH_VERDICT_PATCHED;
    } else if (ans->problems.n) {
        out->verdict = LH_VERDICT_WARNED;
    }
}

int lh_inject_answer(const struct lh_inject_world *w, enum lh_review_kind kind,
                     const struct lh_admission *a, struct lh_buf *out,
                     struct lh_inject_outcome *outcome, struct lh_err *err)
{
    struct answer ans = {0};
    int rc;

    rc = judge(w, kind, a, &ans, err);
    if (rc == 0 && ans.problems.nomem)
        rc = lh_err_nomem(err);
    if (rc == 0)
        rc = write_answer(a, &ans, out, err);
    if (rc == 0)
        fill_outcome(&ans, outcome);
    lh_json_unref(ans.patch);
    lh_problems_done(&ans.problems);
    return rc;
}

int lh_inject_review(const struct lh_inject_world *w, enum lh_review_kind kind, struct lh_str body,
                     struct lh_buf *out, struct lh_inject_outcome *outcome, struct lh_err *err)
{
    struct lh_admission a;
    int rc;

    rc = lh_admission_parse(body, &a, err);
    if (rc < 0)
        return rc;
    rc = lh_inject_answer(w, kind, &a, out, outcome, err);
    lh_admission_done(&a);
    return rc;
}
