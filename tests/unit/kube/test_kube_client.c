/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_api.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/metrics.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"
#include "support.h"

static const struct lh_kube_resource namespaces = {"", "v1", "namespaces", NULL, NULL, NULL};

struct result {
    int calls;
    char *text; /* compact JSON; NULL: none */
    struct lh_err err;
};

static struct lh_loop *loop;
static struct fake_api *api;
static struct lh_kube *kube;
static struct result result;

static int setup(void **state)
{
    (void)state;
    result = (struct result){0};
    return fake_api_cluster(&loop, &api, &kube);
}

static int teardown(void **state)
{
    (void)state;
    lh_kube_free(kube);
    kube = NULL;
    fake_api_free(api);
    api = NULL;
    lh_loop_free(loop);
    lh_free(result.text);
    lh_clock_real();
    return 0;
}

static void on_done(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct result *r = arg;
    struct lh_buf b;
    size_t n;

    r->calls++;
    if (err)
        r->err = *err;
    if (!obj)
        return;
    lh_buf_init(&b, 1 << 20);
    lh_json_write(obj, LH_JSON_COMPACT, &b);
    lh_free(r->text);
    r->text = NULL;
    lh_buf_finish(&b, &r->text, &n, NULL);
}

static bool time_passes; /* while an answer is awaited */

static bool is_done(void *arg)
{
    if (time_passes)
        lh_clock_step(100);
    return ((struct result *)arg)->calls > 0;
}

/* One request and its end. */
static void get(const struct lh_kube_resource *res)
{
    struct lh_err err = {0};

    result.calls = 0;
    result.err = (struct lh_err){0};
    if (lh_kube_start(kube, "GET", res, NULL, NULL, NULL, 0, on_done, &result, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    if (!lh_test_run_until(loop, is_done, &result))
        fail_msg("no answer");
}

static void get_well(const struct lh_kube_resource *res)
{
    get(res);
    if (result.err.code)
        fail_msg("%s", result.err.msg);
}

static void gets_an_object(void **state)
{
    const struct lh_kube_resource res = {"leasehold.dev", "v1alpha1", "secretstores",
                                         "shop",          "va.ult",   NULL};

    (void)state;
    fake_api_put(api, "leasehold.dev/v1alpha1/secretstores",
                 "{\"metadata\":{\"name\":\"va.ult\",\"namespace\":\"shop\"}}");
    get_well(&res);
    assert_non_null(strstr(result.text, "\"name\":\"va.ult\""));
    assert_string_equal(fake_api_request(api, 0),
                        "GET /apis/leasehold.dev/v1alpha1/namespaces/shop/secretstores/va.ult");
    assert_string_equal(fake_api_last_accept(api), "application/json");
}

static void names_cannot_leave_their_segment(void **state)
{
    static const char *const names[] = {"", ".", "..", "../a", "a/b", "a%2fb"};
    const struct lh_kube_resource odd = {"", "v1", "namespaces", NULL, "a?b#c d", NULL};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++) {
        const struct lh_kube_resource by_name = {"", "v1", "pods", "a", names[i], NULL};
        const struct lh_kube_resource by_namespace = {"", "v1", "pods", names[i], "a", NULL};

        assert_int_equal(
            lh_kube_start(kube, "GET", &by_name, NULL, NULL, NULL, 0, on_done, &result, NULL, NULL),
            -LH_E_INVALID);
        assert_int_equal(lh_kube_start(kube, "GET", &by_namespace, NULL, NULL, NULL, 0, on_done,
                                       &result, NULL, NULL),
                         -LH_E_INVALID);
    }
    get(&odd);
    assert_int_equal(result.err.code, LH_E_NOTFOUND);
    assert_int_equal(fake_api_requests(api), 1);
    assert_non_null(strstr(result.err.msg, "GET /api/v1/namespaces/a%3Fb%23c%20d: 404 NotFound"));
}

static void sends_a_body(void **state)
{
    lh_auto_json lh_json *body = lh_json_new_object();

    (void)state;
    lh_json_set(body, "a", lh_json_new_int(1));
    assert_int_equal(lh_kube_start(kube, "PATCH", &namespaces, "fieldManager=x&force=true",
                                   "application/apply-patch+yaml", body, 0, on_done, &result, NULL,
                                   NULL),
                     0);
    assert_true(lh_test_run_until(loop, is_done, &result));
    assert_string_equal(fake_api_request(api, 0),
                        "PATCH /api/v1/namespaces?fieldManager=x&force=true");
    assert_true(lh_str_eqz(fake_api_last_body(api), "{\"a\":1}"));
}

static const struct row {
    const char *name;
    struct fake_api_fault fault;
    int code, retry_ms;
    const char *msg;
} rows[] = {
    {"400 is invalid", {.status = 400}, LH_E_INVALID, 0, "GET /api/v1/namespaces: 400 Fault"},
    {"401 is denied", {.status = 401}, LH_E_DENIED, 0, "401"},
    {"403 is denied, and says what for",
     {.status = 403,
      .body = "{\"reason\":\"Forbidden\",\"message\":\"User \\\"x\\\" cannot list\\u0007\"}"},
     LH_E_DENIED,
     0,
     "403 Forbidden: User \"x\" cannot list?"},
    {"403 of an admission webhook is no lack of rights, and quotes nothing",
     {.status = 403,
      .body = "{\"reason\":\"Forbidden\",\"message\":\"admission webhook \\\"w.x\\\" denied the "
              "request: s3cr3t\"}"},
     LH_E_INVALID,
     0,
     "403 Forbidden: admission webhook \"w.x\" denied the request"},
    {"403 of an admission policy likewise",
     {.status = 403,
      .body = "{\"reason\":\"Forbidden\",\"message\":\"deployments.apps \\\"db\\\" is forbidden: "
              "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: s3cr3t\"}"},
     LH_E_INVALID,
     0,
     "ValidatingAdmissionPolicy 'p' with binding 'b' denied request"},
    {"404 is not found", {.status = 404}, LH_E_NOTFOUND, 0, "404"},
    {"405 is invalid", {.status = 405}, LH_E_INVALID, 0, "405"},
    {"409 is a conflict", {.status = 409}, LH_E_CONFLICT, 0, "409"},
    {"410 is gone", {.status = 410}, LH_E_GONE, 0, "410"},
    {"413 is too big", {.status = 413}, LH_E_TOOBIG, 0, "413"},
    {"422 is invalid, and quotes nothing",
     {.status = 422, .body = "{\"reason\":\"Invalid\",\"message\":\"s3cr3t\"}"},
     LH_E_INVALID,
     0,
     "422 Invalid"},
    {"429 is busy", {.status = 429, .headers = "Retry-After: 2\r\n"}, LH_E_BUSY, 2000, "429"},
    {"500 is unavailable", {.status = 500}, LH_E_UNAVAILABLE, 0, "500"},
    {"503 may say how long",
     {.status = 503, .headers = "Retry-After: 1\r\n"},
     LH_E_UNAVAILABLE,
     1000,
     "503"},
    {"504 of a cache that lags is gone",
     {.status = 504,
      .body = "{\"reason\":\"Timeout\",\"details\":{\"causes\":[{\"reason\":"
              "\"ResourceVersionTooLarge\"}]}}"},
     LH_E_GONE,
     0,
     "504 Timeout"},
    {"504 alone is unavailable", {.status = 504}, LH_E_UNAVAILABLE, 0, "504"},
    {"a proxy's page says only the number",
     {.status = 502, .body = "<html>s3cr3t</html>"},
     LH_E_UNAVAILABLE,
     0,
     "namespaces: 502"},
    {"200 that is no JSON",
     {.status = 200, .body = "<html>s3cr3t</html>"},
     LH_E_INVALID,
     0,
     "answer to GET /api/v1/namespaces: JSON line 1"},
    {"no answer is unavailable", {.status = 0}, LH_E_UNAVAILABLE, 0, "API server: "},
};

static void tells_errors_apart(void **state)
{
    const struct row *r = *state;

    time_passes = r->fault.status == 429;
    fake_api_fault(api, &r->fault);
    get(&namespaces);
    time_passes = false;
    assert_int_equal(result.calls, 1);
    assert_null(result.text);
    assert_int_equal(result.err.code, r->code);
    assert_int_equal(result.err.http_status, r->fault.status == 200 ? 0 : r->fault.status);
    assert_int_equal(result.err.retry_ms, r->retry_ms);
    assert_true(result.err.sent);
    if (!strstr(result.err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", result.err.msg, r->msg);
    assert_null(strstr(result.err.msg, "s3cr3t"));
}

static void start_get(struct result *into, unsigned timeout_ms, struct lh_kube_op **op)
{
    assert_int_equal(lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, timeout_ms, on_done,
                                   into, op, NULL),
                     0);
}

/* The gate is closed: whoever has less time than it is told so. */
static bool is_gated(void *arg)
{
    struct lh_kube_op *op = NULL;
    int rc = lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, 1, on_done, arg, &op, NULL);

    if (rc == 0)
        lh_kube_cancel(op);
    return rc == -LH_E_BUSY;
}

/* A first request that is refused, and waits to go again. */
static void be_refused(const char *headers)
{
    const struct fake_api_fault busy = {.status = 429, .headers = headers, .times = 1};
    struct result none = {0};

    fake_api_fault(api, &busy);
    lh_free(result.text);
    result = (struct result){0};
    start_get(&result, 0, NULL);
    assert_true(lh_test_run_until(loop, is_gated, &none));
    fake_api_forget_requests(api);
}

static void after_429_everybody_waits(void **state)
{
    struct result second = {0};
    struct lh_err err = {0};

    (void)state;
    be_refused("Retry-After: 2\r\n");
    start_get(&second, 0, NULL);
    lh_test_step(loop, 1900, 100);
    assert_int_equal(fake_api_requests(api), 0);
    lh_clock_step(100);
    assert_true(lh_test_run_until(loop, is_done, &second));
    assert_true(lh_test_run_until(loop, is_done, &result));
    assert_int_equal(fake_api_requests(api), 2);
    assert_int_equal(result.err.code, 0);
    assert_int_equal(second.err.code, 0);
    lh_free(second.text);
    second = (struct result){0};

    /* Who has less time than that is told at once. */
    be_refused("Retry-After: 2\r\n");
    assert_int_equal(lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, 300, on_done,
                                   &second, NULL, &err),
                     -LH_E_BUSY);
    assert_int_equal(err.retry_ms, 2000);
    assert_int_equal(second.calls, 0);
}

static void a_429_without_a_time_waits_a_second(void **state)
{
    (void)state;
    be_refused(NULL);
    lh_test_step(loop, 900, 100);
    assert_int_equal(fake_api_requests(api), 0);
    lh_clock_step(100);
    assert_true(lh_test_run_until(loop, is_done, &result));
    assert_int_equal(result.err.code, 0);
    assert_int_equal(fake_api_requests(api), 1);
}

static void counts_requests_by_method_and_code(void **state)
{
    lh_auto_buf struct lh_buf b = {0};

    (void)state;
    lh_metrics_reset();
    be_refused(NULL);
    time_passes = true;
    assert_true(lh_test_run_until(loop, is_done, &result));
    time_passes = false;
    lh_buf_init(&b, 1 << 20);
    lh_metrics_write(&b);
    assert_non_null(
        strstr(lh_buf_peek(&b).p, "rest_client_requests_total{method=\"GET\",code=\"429\"} 1\n"));
    assert_non_null(
        strstr(lh_buf_peek(&b).p, "rest_client_requests_total{method=\"GET\",code=\"200\"} 1\n"));
}

static void cancelled_requests_do_not_call_back(void **state)
{
    struct result none = {0};
    struct lh_kube_op *op = NULL;

    (void)state;
    assert_int_equal(
        lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, 0, on_done, &none, &op, NULL), 0);
    lh_kube_cancel(op);
    be_refused("Retry-After: 2\r\n");
    start_get(&none, 0, &op);
    lh_kube_cancel(op); /* while it waits for the gate */
    lh_test_step(loop, 5000, 1000);
    assert_int_equal(none.calls, 0);
    /* The client's end ends what is under way. */
    assert_int_equal(
        lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, 0, on_done, &none, NULL, NULL),
        0);
    lh_kube_free(kube);
    kube = NULL;
    lh_test_step(loop, 5000, 1000);
    assert_int_equal(none.calls, 0);
    lh_kube_cancel(NULL);
}

static char token_text[200];

static void on_token(void *arg, const struct lh_secret *token, const struct lh_err *err)
{
    struct result *r = arg;

    r->calls++;
    if (err)
        r->err = *err;
    if (token)
        snprintf(token_text, sizeof(token_text), "%s", (const char *)lh_secret_expose_const(token));
}

static void asks_for_tokens(void **state)
{
    const struct fake_api_fault empty = {.status = 201, .body = "{\"status\":{}}", .times = 1};

    (void)state;
    assert_int_equal(
        lh_kube_token_request(kube, "shop", "web", "vault", 3600, on_token, &result, NULL, NULL),
        0);
    assert_true(lh_test_run_until(loop, is_done, &result));
    assert_int_equal(result.err.code, 0);
    assert_string_equal(token_text, "shop.web.vault.3600");
    assert_string_equal(fake_api_request(api, 0),
                        "POST /api/v1/namespaces/shop/serviceaccounts/web/token");
    fake_api_fault(api, &empty);
    result = (struct result){0};
    token_text[0] = '\0';
    assert_int_equal(
        lh_kube_token_request(kube, "shop", "web", "vault", 3600, on_token, &result, NULL, NULL),
        0);
    assert_true(lh_test_run_until(loop, is_done, &result));
    assert_int_equal(result.err.code, LH_E_INVALID);
    assert_string_equal(token_text, "");
}

static struct lh_test_scratch scratch;

static int setup_token_file(void **state)
{
    struct lh_kube_config cfg = {0};
    int rc = setup(state);

    lh_kube_free(kube);
    kube = NULL;
    if (rc == 0)
        rc = lh_test_scratch_new(&scratch);
    if (rc == 0)
        rc = fake_api_config(api, &cfg, NULL);
    if (rc == 0) {
        cfg.token = lh_secret_free(cfg.token);
        cfg.token_file = lh_asprintf("%s/token", scratch.path);
        rc = lh_kube_new(loop, &cfg, "test", &kube, NULL);
    }
    lh_kube_config_done(&cfg);
    return rc;
}

static int teardown_token_file(void **state)
{
    lh_test_scratch_done(&scratch);
    return teardown(state);
}

static void reads_the_token_file_again(void **state)
{
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(
        lh_kube_start(kube, "GET", &namespaces, NULL, NULL, NULL, 0, on_done, &result, NULL, &err),
        -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "ServiceAccount token"));
    assert_int_equal(lh_test_write(scratch.fd, "token", "s3cr3t\n"), 0);
    get_well(&namespaces);

    /* Rotated: used within a minute. */
    assert_int_equal(lh_test_write(scratch.fd, "token", "n3w\n"), 0);
    get_well(&namespaces);
    fake_api_take_token(api, "n3w");
    lh_clock_step(60000);
    get_well(&namespaces);

    /* Rotated and the old one dead: a 401 is enough. */
    assert_int_equal(lh_test_write(scratch.fd, "token", "n3wer\n"), 0);
    fake_api_take_token(api, "n3wer");
    get(&namespaces);
    assert_int_equal(result.err.code, LH_E_DENIED);
    get_well(&namespaces);

    /* Not readable for a while: the last one serves. */
    assert_int_equal(lh_test_write(scratch.fd, "token", ""), 0);
    lh_clock_step(60000);
    get_well(&namespaces);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(gets_an_object),
        CASE(names_cannot_leave_their_segment),
        CASE(sends_a_body),
        CASE(after_429_everybody_waits),
        CASE(a_429_without_a_time_waits_a_second),
        CASE(counts_requests_by_method_and_code),
        CASE(cancelled_requests_do_not_call_back),
        CASE(asks_for_tokens),
        cmocka_unit_test_setup_teardown(reads_the_token_file_again, setup_token_file,
                                        teardown_token_file),
    };
    struct CMUnitTest errors[LH_ARRAY_LEN(rows)];
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        errors[i] = (struct CMUnitTest){rows[i].name, tells_errors_apart, setup, teardown,
                                        (void *)(uintptr_t)&rows[i]};
    failures = cmocka_run_group_tests_name("kube client", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("kube errors", errors, NULL, NULL);
}
