/* SPDX-License-Identifier: Apache-2.0 */
/* status: from objects to rows to text, and what agents and drivers say of themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_api.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "status.h"

#define AGENT(more)                                                                                \
    "\"initContainers\":[{\"name\":\"leasehold-agent\",\"restartPolicy\":\"Always\",\"env\":[{"    \
    "\"name\":\"LEASEHOLD_CONFIG\",\"value\":\"{\\\"metricsPort\\\":9091}\"}]" more "}]"
#define CSI     "\"volumes\":[{\"name\":\"v\",\"csi\":{\"driver\":\"csi.leasehold.dev\"}}]"
#define STARTED "\"initContainerStatuses\":[{\"name\":\"leasehold-agent\",\"started\":true}]"
#define FRESH(value, word)                                                                         \
    "\"conditions\":[{\"type\":\"leasehold.dev/SecretsFresh\",\"status\":\"" value                 \
    "\",\"reason\":\"" word                                                                        \
    "\",\"message\":\"m\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]"
#define ASKED "\"annotations\":{\"leasehold.dev/secret.db\":\"a/b\"}"

static const struct row {
    const char *name;
    enum status_kind kind;
    const char *object;
    const char *ready, *reason, *delivery; /* ready NULL: no row */
    bool bad;
} rows[] = {
    {"a store nobody judged", STATUS_STORE, "{\"spec\":{}}", "Unknown", "", "", false},
    {"a store that is well", STATUS_STORE,
     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":"
     "\"Available\"}]}}",
     "True", "Available", "", false},
    {"a projection that is not", STATUS_PROJECTION,
     "{\"status\":{\"conditions\":[{\"type\":\"Other\",\"status\":\"True\"},{\"type\":\"Ready\","
     "\"status\":\"False\",\"reason\":\"Sealed\"}]}}",
     "False", "Sealed", "", true},
    {"a Pod of others", STATUS_POD, "{\"spec\":{\"volumes\":[{\"csi\":{\"driver\":\"x\"}}]}}", NULL,
     NULL, NULL, false},
    {"a sidecar that waits", STATUS_POD, "{\"spec\":{" AGENT("") "}}", "Unknown", "Starting",
     "sidecar", false},
    {"a sidecar that started", STATUS_POD, "{\"spec\":{" AGENT("") "},\"status\":{" STARTED "}}",
     "True", "", "sidecar", false},
    {"an init container that ended", STATUS_POD,
     "{\"spec\":{\"initContainers\":[{\"name\":\"leasehold-agent\"}]},\"status\":{"
     "\"initContainerStatuses\":[{\"name\":\"leasehold-agent\",\"ready\":true}]}}",
     "True", "", "init", false},
    {"a volume before its condition", STATUS_POD,
     "{\"spec\":{" CSI "},\"status\":{\"phase\":\"Pending\"}}", "Unknown", "Starting", "csi",
     false},
    {"a volume that is stale", STATUS_POD,
     "{\"spec\":{" CSI "},\"status\":{" FRESH("False", "SecretStale") "}}", "False", "SecretStale",
     "csi", true},
    {"both, and the volume is fresh", STATUS_POD,
     "{\"spec\":{" AGENT("") "," CSI "},\"status\":{" STARTED "," FRESH("True", "Fresh") "}}",
     "True", "Fresh", "sidecar+csi", false},
    {"both, and the agent waits", STATUS_POD,
     "{\"spec\":{" AGENT("") "," CSI "},\"status\":{" FRESH("True", "Fresh") "}}", "Unknown",
     "Starting", "sidecar+csi", false},
    {"annotated and without an agent", STATUS_POD, "{\"metadata\":{" ASKED "},\"spec\":{}}",
     "False", "NotInjected", "", true},
    {"annotated and switched off", STATUS_POD,
     "{\"metadata\":{\"annotations\":{\"leasehold.dev/secret.db\":\"a\",\"leasehold.dev/inject\":"
     "\"false\"}}}",
     NULL, NULL, NULL, false},
    {"a Pod that ended", STATUS_POD,
     "{\"spec\":{" AGENT("") "},\"status\":{\"phase\":\"Succeeded\"}}", NULL, NULL, NULL, false},
    {"a port that is none", STATUS_POD,
     "{\"spec\":{\"initContainers\":[{\"name\":\"leasehold-agent\",\"env\":[{\"name\":"
     "\"LEASEHOLD_CONFIG\",\"value\":\"{\"}]}]}}",
     "Unknown", "Starting", "init", false},
};

static void row_of(void **state)
{
    const struct row *r = *state;
    lh_json *obj = NULL;
    struct status_row *row = NULL;

    assert_int_equal(lh_json_parse(lh_str(r->object), NULL, &obj, NULL), 0);
    assert_int_equal(status_row_of(r->kind, obj, &row, NULL), 0);
    lh_json_unref(obj);
    if (!r->ready) {
        assert_null(row);
        return;
    }
    assert_non_null(row);
    assert_string_equal(row->ready, r->ready);
    assert_string_equal(row->reason, r->reason);
    assert_string_equal(row->delivery, r->delivery);
    assert_int_equal(status_is_bad(row), r->bad);
    status_row_free(row);
}

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube_config cfg;
    struct lh_kube *kube;
    struct status_view *view;
    struct lh_vec rows;
    struct lh_buf out, lines;
    struct lh_err err;
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    lh_buf_init(&t.out, 65536);
    lh_buf_init(&t.lines, 65536);
    lh_vec_init(&t.rows, sizeof(struct status_row *));
    if (lh_loop_new(&t.loop, &t.err) < 0 || fake_api_new(t.loop, &t.api, &t.err) < 0 ||
        fake_api_config(t.api, &t.cfg, &t.err) < 0 ||
        lh_kube_new(t.loop, &t.cfg, "test", &t.kube, &t.err) < 0)
        return -1;
    fake_api_put(
        t.api, "leasehold.dev/v1alpha1/clustersecretstores",
        "{\"metadata\":{\"name\":\"vault\"},\"status\":{\"conditions\":[{\"type\":\"Ready\","
        "\"status\":\"False\",\"reason\":\"Sealed\",\"message\":\"the manager\\u001b is "
        "sealed\"}]}}");
    fake_api_put(t.api, "leasehold.dev/v1alpha1/secretprojections",
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"creationTimestamp\":"
                 "\"2026-01-01T00:00:00Z\"},\"spec\":{\"storeRef\":{\"name\":\"vault\"}}}");
    fake_api_put(t.api, "leasehold.dev/v1alpha1/secretprojections",
                 "{\"metadata\":{\"name\":\"other\",\"namespace\":\"bank\"}}");
    fake_api_put(t.api, "v1/pods",
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"annotations\":{"
                 "\"leasehold.dev/store\":\"vault\"}},\"spec\":{\"nodeName\":\"a\"," AGENT(
                     "") "},\"status\":{" STARTED "}}");
    fake_api_put(t.api, "v1/pods", "{\"metadata\":{\"name\":\"plain\",\"namespace\":\"shop\"}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    status_close(t.view);
    lh_vec_done(&t.rows);
    lh_buf_done(&t.out);
    lh_buf_done(&t.lines);
    lh_kube_free(t.kube);
    lh_kube_config_done(&t.cfg);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    return 0;
}

static void open_view(const char *ns, const char *operator_ns,
                      void (*changed)(void *, const struct status_row *))
{
    const struct status_options o = {.loop = t.loop,
                                     .kube = t.kube,
                                     .namespace_ = ns,
                                     .operator_namespace = operator_ns,
                                     .timeout_ms = 10000,
                                     .changed = changed};

    assert_int_equal(status_open(&o, &t.view, &t.err), 0);
}

static const char *print(enum status_format format, bool live)
{
    lh_buf_reset(&t.out);
    lh_vec_clear(&t.rows);
    assert_int_equal(status_rows(t.view, &t.rows, &t.err), 0);
    /* An hour and a half after the projection was made. */
    status_print(&t.rows, status_trouble(t.view), format, live, INT64_C(1767231000000), &t.out);
    return lh_buf_peek(&t.out).p;
}

static void table(void **state)
{
    static const char want[] = "KIND                NAMESPACE  NAME   READY    REASON  STORE  AGE\n"
                               "ClusterSecretStore  -          vault  False    Sealed  -      -\n"
                               "SecretProjection    shop       db     Unknown  -       vault  90m\n"
                               "Pod                 shop       web    True     -       vault  -\n"
                               "\nWhat to do:\nSealed: ";

    (void)state;
    open_view("shop", NULL, NULL);
    print(STATUS_TABLE, false);
    assert_true(lh_str_starts(lh_buf_peek(&t.out), lh_str(want)));
}

static void wide_and_all(void **state)
{
    const char *out;

    (void)state;
    open_view(NULL, NULL, NULL);
    out = print(STATUS_WIDE, false);
    assert_non_null(strstr(out, "DELIVERY  NODE  MESSAGE\n"));
    assert_non_null(strstr(out, "bank"));
    assert_non_null(strstr(out, "the manager  is sealed\n")); /* no escape reaches a terminal */
}

static void as_json(void **state)
{
    lh_json *doc = NULL;
    const lh_json *pod;

    (void)state;
    open_view("shop", NULL, NULL);
    print(STATUS_JSON, false);
    assert_int_equal(lh_json_parse(lh_buf_peek(&t.out), NULL, &doc, NULL), 0);
    assert_int_equal(lh_json_get_int(doc, "version", 0), 1);
    assert_false(lh_json_get_bool(doc, "ok", true));
    assert_int_equal(lh_json_len(lh_json_get(doc, "items")), 3);
    pod = lh_json_at(lh_json_get(doc, "items"), 2);
    assert_string_equal(lh_json_get_z(pod, "delivery"), "sidecar");
    assert_int_equal(lh_json_type(lh_json_get(pod, "live")), LH_JSON_NULL);
    lh_json_unref(doc);
}

static void a_kind_that_may_not_be_read(void **state)
{
    const char *out;

    (void)state;
    fake_api_deny(t.api, "leasehold.dev/v1alpha1/clustersecretstores");
    open_view("shop", NULL, NULL);
    out = print(STATUS_TABLE, false);
    assert_non_null(strstr(out, "Pod               shop       web"));
    assert_non_null(strstr(out, "\nNot known:\nClusterSecretStore: "));
}

static void nothing_there(void **state)
{
    (void)state;
    fake_api_delete(t.api, "leasehold.dev/v1alpha1/clustersecretstores", NULL, "vault");
    open_view("empty", NULL, NULL);
    assert_non_null(strstr(print(STATUS_TABLE, false), "There are no stores"));
}

static void live(void **state)
{
    static const struct fake_api_fault says = {
        .method = "GET",
        .prefix = "/api/v1/namespaces/shop/pods/web:9091/proxy/status",
        .status = 200,
        .body = "{\"ready\":true,\"cause\":\"Unreachable: ClusterSecretStore \\\"vault\\\": gone\","
                "\"items\":[{\"ends\":\"2026-01-01T03:00:00.000Z\"},{\"ends\":null},"
                "{\"ends\":\"2026-01-01T02:00:00.000Z\"}]}"};
    const char *out;

    (void)state;
    fake_api_fault(t.api, &says);
    open_view("shop", "leasehold-system", NULL);
    assert_int_equal(status_ask(t.view, &t.err), 0);
    out = print(STATUS_TABLE, true);
    assert_non_null(strstr(out, "web    True     Unreachable  vault  -    30m\n"));
    assert_null(strstr(out, "Not known"));
    assert_non_null(strstr(print(STATUS_JSON, true), "\"agent\": {"));
}

static void live_without_an_answer(void **state)
{
    (void)state;
    open_view("shop", "leasehold-system", NULL);
    assert_int_equal(status_ask(t.view, &t.err), 0);
    assert_non_null(strstr(print(STATUS_TABLE, true), "Not known:\nPod shop/web: "));
}

static void live_driver(void **state)
{
    static const struct fake_api_fault says = {
        .method = "GET",
        .prefix = "/api/v1/namespaces/ours/pods/node-x:9444/proxy/status",
        .status = 200,
        .body =
            "{\"node\":\"a\",\"volumes\":[{\"namespace\":\"shop\",\"pod\":\"job\",\"state\":"
            "\"published\",\"cause\":\"\",\"secrets\":{\"items\":[]}},{\"namespace\":\"shop\","
            "\"pod\":\"job\",\"state\":\"waiting\",\"cause\":\"Sealed: it is\",\"secrets\":null},"
            "{\"namespace\":\"bank\",\"pod\":\"x\",\"state\":\"published\"}]}"};

    (void)state;
    fake_api_put(t.api, "v1/pods",
                 "{\"metadata\":{\"name\":\"node-x\",\"namespace\":\"ours\",\"labels\":{"
                 "\"app.kubernetes.io/name\":\"leasehold-node\"}},\"spec\":{\"containers\":[{"
                 "\"name\":\"node\",\"ports\":[{\"name\":\"metrics\",\"containerPort\":9444}]}]}}");
    fake_api_put(t.api, "v1/pods",
                 "{\"metadata\":{\"name\":\"job\",\"namespace\":\"shop\"},\"spec\":{" CSI "}}");
    fake_api_delete(t.api, "v1/pods", "shop", "web");
    fake_api_fault(t.api, &says);
    open_view("shop", "ours", NULL);
    assert_int_equal(status_ask(t.view, &t.err), 0);
    assert_non_null(strstr(print(STATUS_TABLE, true), "job    False    Sealed"));
    assert_null(strstr(print(STATUS_TABLE, true), "Not known"));
    assert_null(strstr(print(STATUS_TABLE, true), "node-x"));
}

static void on_change(void *arg, const struct status_row *r)
{
    (void)arg;
    status_print_row(r, STATUS_TABLE, 0, &t.lines);
}

static bool lines_hold(const char *text)
{
    lh_ms end = lh_clock_now() + 10000;

    while (!strstr(lh_buf_peek(&t.lines).p, text) && lh_clock_now() < end)
        lh_loop_turn(t.loop, 50);
    return strstr(lh_buf_peek(&t.lines).p, text) != NULL;
}

static void watched(void **state)
{
    (void)state;
    open_view("shop", NULL, on_change);
    assert_int_equal(lh_buf_peek(&t.lines).n, 0);
    fake_api_put(
        t.api, "leasehold.dev/v1alpha1/secretprojections",
        "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"creationTimestamp\":"
        "\"2026-01-01T00:00:00Z\"},\"spec\":{\"storeRef\":{\"name\":\"vault\"}},\"status\":"
        "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"Fresh\"}]}}");
    assert_true(lines_hold("True     Fresh"));
    fake_api_delete(t.api, "leasehold.dev/v1alpha1/secretprojections", "shop", "db");
    assert_true(lines_hold("Gone"));
    fake_api_put(
        t.api, "v1/pods",
        "{\"metadata\":{\"name\":\"longer-than-its-column-is-wide\",\"namespace\":\"shop\"},"
        "\"spec\":{" CSI "}}");
    assert_true(lines_hold("longer-than-its-column-is-wide  Unknown"));
    fake_api_put(t.api, "v1/pods", "{\"metadata\":{\"name\":\"more\",\"namespace\":\"shop\"}}");
    fake_api_put(t.api, "v1/pods",
                 "{\"metadata\":{\"name\":\"last\",\"namespace\":\"shop\"},\"spec\":{" CSI "}}");
    assert_true(lines_hold("last"));
    assert_null(strstr(lh_buf_peek(&t.lines).p, "more"));
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + 9];
    const struct CMUnitTest views[] = {
        cmocka_unit_test_setup_teardown(table, setup, teardown),
        cmocka_unit_test_setup_teardown(wide_and_all, setup, teardown),
        cmocka_unit_test_setup_teardown(as_json, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kind_that_may_not_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_there, setup, teardown),
        cmocka_unit_test_setup_teardown(live, setup, teardown),
        cmocka_unit_test_setup_teardown(live_without_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(live_driver, setup, teardown),
        cmocka_unit_test_setup_teardown(watched, setup, teardown),
    };
    size_t n = 0;

    lh_mem_init();
    lh_json_init();
    if (lh_crypto_init(NULL) < 0 || lh_http_global_init(NULL) < 0)
        return 1;
    for (; n < LH_ARRAY_LEN(rows); n++)
        tests[n] =
            (struct CMUnitTest){rows[n].name, row_of, NULL, NULL, (void *)(uintptr_t)&rows[n]};
    for (size_t i = 0; i < LH_ARRAY_LEN(views); i++)
        tests[n++] = views[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
