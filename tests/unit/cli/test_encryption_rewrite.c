/* SPDX-License-Identifier: Apache-2.0 */
/* encryption rewrite: what is served, updates, and the cluster's own migrations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "encryption_bed.h"
#include "encryption_rewrite.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

#define MIGRATIONS "storagemigration.k8s.io/v1beta1/storageversionmigrations"
#define VERBS      "\"verbs\":[\"get\",\"list\",\"update\"]"

static struct {
    struct encryption_bed bed;
    struct lh_timer *timer;
    const char *verdict; /* conditions that the controller gives a migration */
    struct enc_rewrite r;
    struct lh_vec resources;
    struct lh_buf said;
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    lh_buf_init(&t.said, 65536);
    lh_vec_init(&t.resources, sizeof(struct enc_resource));
    if (encryption_bed_new(&t.bed) < 0)
        return -1;
    t.r = (struct enc_rewrite){.loop = t.bed.loop,
                               .api = t.bed.client,
                               .method = "auto",
                               .digest = "d1",
                               .poll_ms = 5,
                               .start_ms = 10000,
                               .json = true};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    enc_resources_done(&t.resources);
    lh_timer_free(t.timer);
    lh_buf_done(&t.said);
    encryption_bed_done(&t.bed);
    return 0;
}

static void put_secret(const char *ns, const char *name)
{
    lh_auto_free char *json = lh_asprintf("{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},"
                                          "\"data\":{\"a\":\"Yg==\"}}",
                                          name, ns);

    fake_api_put(t.bed.api, "v1/secrets", json);
}

static void put_pages(void)
{
    fake_api_page(t.bed.api, "/api/v1", 200,
                  "{\"resources\":[{\"name\":\"secrets\"," VERBS "},"
                  "{\"name\":\"secrets/status\"," VERBS "},{\"name\":\"configmaps\"," VERBS "},"
                  "{\"name\":\"bindings\",\"verbs\":[\"create\"]}]}");
    fake_api_page(t.bed.api, "/apis", 200,
                  "{\"groups\":[{\"name\":\"apps\"},{\"name\":\"events.k8s.io\"},"
                  "{\"name\":\"metrics.k8s.io\"},{\"name\":\"../x\"}]}");
    fake_api_page(t.bed.api, "/apis/apps", 200,
                  "{\"versions\":[{\"version\":\"v1\"},{\"version\":\"v1beta1\"}]}");
    fake_api_page(t.bed.api, "/apis/apps/v1", 200,
                  "{\"resources\":[{\"name\":\"deployments\"," VERBS "}]}");
    fake_api_page(t.bed.api, "/apis/apps/v1beta1", 200,
                  "{\"resources\":[{\"name\":\"deployments\"," VERBS "},{\"name\":\"new\"," VERBS
                  "}]}");
    fake_api_page(t.bed.api, "/apis/events.k8s.io", 200, "{\"versions\":[{\"version\":\"v1\"}]}");
    fake_api_page(t.bed.api, "/apis/events.k8s.io/v1", 200,
                  "{\"resources\":[{\"name\":\"events\"," VERBS "}]}");
    fake_api_page(t.bed.api, "/apis/metrics.k8s.io", 200, "{\"versions\":[{\"version\":\"v1\"}]}");
    fake_api_page(t.bed.api, "/apis/metrics.k8s.io/v1", 503, "away");
}

static int discover(const char *names)
{
    struct lh_vec list;
    int rc = enc_split(names, &list, &t.bed.err);

    enc_resources_done(&t.resources);
    rc = rc < 0 ? rc : enc_discover(t.bed.client, &list, &t.resources, &t.bed.err);
    enc_list_done(&list);
    if (rc < 0)
        lh_vec_init(&t.resources, sizeof(struct enc_resource));
    return rc;
}

static void resources_are(const char *names, const char *want)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 4096);
    assert_int_equal(discover(names), 0);
    for (size_t i = 0; i < t.resources.n; i++) {
        const struct enc_resource *r = lh_vec_at(&t.resources, i);

        lh_buf_printf(&b, "%s %s/%s;", r->name, r->base, r->plural);
    }
    assert_string_equal(lh_buf_peek(&b).p, want);
}

#define CORE "configmaps /api/v1/configmaps;secrets /api/v1/secrets;"
#define APPS "deployments.apps /apis/apps/v1/deployments;new.apps /apis/apps/v1beta1/new;"

static void wildcards(void **state)
{
    (void)state;
    put_pages();
    resources_are("secrets", "secrets /api/v1/secrets;");
    resources_are("secrets.", "secrets /api/v1/secrets;");
    resources_are("new.apps", "new.apps /apis/apps/v1beta1/new;");
    resources_are("*.", CORE);
    resources_are("*.apps", APPS);
    resources_are("secrets,*.", "secrets /api/v1/secrets;configmaps /api/v1/configmaps;");
    /* Each once; events are the core's; a group that is away is passed over. */
    resources_are("*.*", "configmaps /api/v1/configmaps;deployments.apps /apis/apps/v1/deployments;"
                         "new.apps /apis/apps/v1beta1/new;secrets /api/v1/secrets;");
    resources_are("*.apps,*.*", APPS CORE);
    assert_int_equal(discover("bindings"), -LH_E_NOTFOUND);
    assert_int_equal(discover("things.example.org"), -LH_E_NOTFOUND);
    assert_non_null(strstr(t.bed.err.msg, "things.example.org is not served"));
    assert_int_equal(discover("../../etc"), -LH_E_INVALID);
}

static int run(void)
{
    put_pages();
    if (discover("secrets") < 0)
        return -1;
    put_secret("shop", "a");
    put_secret("shop", "b");
    put_secret("web", "a");
    return enc_rewrite_run(&t.r, &t.resources, &t.said, &t.bed.err);
}

static const char *said(void)
{
    return lh_buf_peek(&t.said).p;
}

static void by_updates(void **state)
{
    (void)state;
    t.r.method = "update";
    assert_int_equal(run(), 0);
    assert_int_equal(fake_api_count(t.bed.api, "PUT /api/v1/namespaces/"), 3);
    assert_int_equal(fake_api_count(t.bed.api, "storagemigration"), 0);
    assert_string_equal(said(),
                        "{\"resources\": [{\"resource\": \"secrets\", \"method\": \"update\","
                        " \"written\": 3, \"gone\": 0, \"conflicts\": 0}], \"refused\": "
                        "[]}\n");
}

static void another_writer(void **state)
{
    (void)state;
    t.r.method = "update";
    fake_api_interfere(t.bed.api, 2);
    assert_int_equal(run(), 0);
    assert_non_null(strstr(said(), "\"written\": 3, \"gone\": 0, \"conflicts\": 2}"));
}

static void another_writer_all_the_time(void **state)
{
    (void)state;
    t.r.method = "update";
    fake_api_interfere(t.bed.api, 1000);
    assert_int_equal(run(), -LH_E_CONFLICT);
    assert_non_null(strstr(t.bed.err.msg, "/secrets/a is changed by others all the time"));
}

static void gone_meanwhile(void **state)
{
    (void)state;
    t.r.method = "update";
    fake_api_fault(t.bed.api,
                   &(struct fake_api_fault){.method = "GET",
                                            .prefix = "/api/v1/namespaces/shop/secrets/b",
                                            .status = 404});
    assert_int_equal(run(), 0);
    assert_non_null(strstr(said(), "\"written\": 2, \"gone\": 1, \"conflicts\": 0}"));
}

static void one_that_is_refused_is_named(void **state)
{
    (void)state;
    t.r.method = "update";
    fake_api_fault(t.bed.api,
                   &(struct fake_api_fault){.method = "PUT",
                                            .prefix = "/api/v1/namespaces/shop/secrets/b",
                                            .status = 403});
    assert_int_equal(run(), 0);
    assert_int_equal(t.r.refused, 1);
    assert_non_null(strstr(said(), "\"written\": 2,"));
    assert_non_null(strstr(said(), "\"refused\": [\"/api/v1/namespaces/shop/secrets/b: 403\"]"));
}

static void no_right_to_update(void **state)
{
    (void)state;
    t.r.method = "update";
    fake_api_fault(t.bed.api, &(struct fake_api_fault){.method = "PUT", .status = 403});
    assert_int_equal(run(), -LH_E_DENIED);
    assert_int_equal(fake_api_count(t.bed.api, "PUT "), 1);
}

static void goes_on_behind(void **state)
{
    (void)state;
    t.r.after = "secrets/shop/a";
    assert_int_equal(run(), 0);
    /* A migration does not begin in the middle. */
    assert_non_null(strstr(said(), "\"method\": \"update\", \"written\": 2,"));
    assert_int_equal(fake_api_count(t.bed.api, "secrets/a"), 2); /* of web: read and written */
}

static void judge_migration(const lh_json *had)
{
    lh_auto_buf struct lh_buf meta, spec;
    lh_auto_free char *json = NULL;

    lh_buf_init(&meta, 4096);
    lh_buf_init(&spec, 4096);
    lh_json_write(lh_json_get(had, "metadata"), LH_JSON_COMPACT, &meta);
    lh_json_write(lh_json_get(had, "spec"), LH_JSON_COMPACT, &spec);
    json = lh_asprintf("{\"metadata\":%s,\"spec\":%s,\"status\":{\"conditions\":[%s]}}",
                       lh_buf_peek(&meta).p, lh_buf_peek(&spec).p, t.verdict);
    fake_api_put(t.bed.api, MIGRATIONS, json);
}

/* kube-controller-manager: gives every migration its verdict, once somebody waits for one. */
static void control(void *arg)
{
    bool waited = fake_api_count(t.bed.api, "GET /apis/" MIGRATIONS "/leasehold-") > 0;

    (void)arg;
    for (size_t i = 0; t.verdict && waited && i < 100; i++) {
        lh_auto_free char *name = lh_asprintf("leasehold-%zu", i);
        const lh_json *had = fake_api_get(t.bed.api, MIGRATIONS, NULL, name);

        if (had && !lh_json_get(had, "status"))
            judge_migration(had);
    }
    lh_timer_in(t.timer, 5);
}

#define CONDITION(type, message)                                                                   \
    "{\"type\":\"Running\",\"status\":\"False\"},{\"type\":\"" type                                \
    "\",\"status\":\"True\",\"message\":\"" message "\"}"

static int migrate(const char *version, const char *verdict)
{
    lh_auto_free char *page = lh_asprintf("{\"preferredVersion\":{\"version\":\"%s\"}}", version);

    t.verdict = verdict;
    lh_timer_free(t.timer);
    fake_api_page(t.bed.api, "/apis/storagemigration.k8s.io", 200, page);
    if (lh_timer_new(t.bed.loop, control, NULL, &t.timer, &t.bed.err) < 0)
        return -1;
    lh_timer_in(t.timer, 1);
    return run();
}

static void by_a_migration(void **state)
{
    (void)state;
    assert_int_equal(migrate("v1beta1", CONDITION("Succeeded", "")), 0);
    assert_string_equal(said(), "{\"resources\": [{\"resource\": \"secrets\", \"method\": "
                                "\"migration\"}], \"refused\": []}\n");
    assert_int_equal(fake_api_count(t.bed.api, "PUT /api/v1"), 0);
    assert_int_equal(fake_api_count(t.bed.api, "POST /apis/" MIGRATIONS), 1);
    /* What is over is not left lying about. */
    assert_int_equal(fake_api_count(t.bed.api, "DELETE /apis/" MIGRATIONS "/leasehold-"), 1);
}

static void no_migrations_here(void **state)
{
    (void)state;
    assert_int_equal(run(), 0);
    assert_non_null(strstr(said(), "\"method\": \"update\", \"written\": 3,"));
    t.r.method = "migration";
    assert_int_equal(run(), -LH_E_UNAVAILABLE);
    assert_string_equal(t.bed.err.msg, "secrets: StorageVersionMigration is not served");
}

static void a_migration_that_nobody_takes_on(void **state)
{
    (void)state;
    t.r.start_ms = 20;
    assert_int_equal(migrate("v1beta1", NULL), 0);
    assert_non_null(strstr(said(), "\"method\": \"update\", \"written\": 3,"));
    assert_int_equal(fake_api_count(t.bed.api, "DELETE /apis/" MIGRATIONS "/leasehold-"), 1);
}

static void a_migration_that_fails(void **state)
{
    (void)state;
    assert_int_equal(migrate("v1beta1", CONDITION("Failed", "secrets \\u001b[31m")), 0);
    assert_non_null(strstr(said(), "\"method\": \"update\", \"written\": 3,"));
    t.r.method = "migration";
    assert_int_equal(run(), -LH_E_UNAVAILABLE);
    assert_string_equal(t.bed.err.msg, "secrets: the migration failed: secrets ?[31m");
}

static void no_right_to_migrate(void **state)
{
    (void)state;
    fake_api_fault(t.bed.api, &(struct fake_api_fault){.method = "POST", .status = 403});
    assert_int_equal(migrate("v1beta1", NULL), 0);
    assert_non_null(strstr(said(), "\"method\": \"update\", \"written\": 3,"));
}

static void put_migration(const char *name, const char *digest)
{
    lh_auto_free char *json =
        lh_asprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app.kubernetes.io/managed-by\":"
                    "\"leasehold\"},\"annotations\":{\"leasehold.dev/encryption-config\":\"%s\"}},"
                    "\"spec\":{\"resource\":{\"resource\":\"secrets\"}}}",
                    name, digest);

    fake_api_put(t.bed.api, MIGRATIONS, json);
}

static void waits_for_the_one_of_an_earlier_run(void **state)
{
    (void)state;
    put_migration("leasehold-7", "d1");
    assert_int_equal(migrate("v1beta1", CONDITION("Succeeded", "")), 0);
    assert_non_null(strstr(said(), "\"method\": \"migration\""));
    assert_int_equal(fake_api_count(t.bed.api, "POST "), 0);
}

/* It may have written with the old key. */
static void not_for_one_of_an_earlier_file(void **state)
{
    (void)state;
    put_migration("leasehold-7", "d0");
    assert_int_equal(migrate("v1beta1", CONDITION("Succeeded", "")), 0);
    assert_int_equal(fake_api_count(t.bed.api, "POST /apis/" MIGRATIONS), 1);
    assert_non_null(fake_api_get(t.bed.api, MIGRATIONS, NULL, "leasehold-7"));
}

static void interrupted(void **state)
{
    (void)state;
    t.r.stop = true;
    assert_int_equal(migrate("v1beta1", NULL), -LH_E_BUSY);
    /* The cluster goes on with it. */
    assert_int_equal(fake_api_count(t.bed.api, "POST /apis/" MIGRATIONS), 1);
    assert_int_equal(fake_api_count(t.bed.api, "DELETE "), 0);
    t.r.stop = false;
    t.verdict = CONDITION("Succeeded", "");
    assert_int_equal(run(), 0);
    assert_int_equal(fake_api_count(t.bed.api, "POST /apis/" MIGRATIONS), 1);
}

#define ALPHA "/apis/storagemigration.k8s.io/v1alpha1/storageversionmigrations"

/* The alpha version's migrations name a version. */
static void by_the_alpha_version(void **state)
{
    (void)state;
    t.r.start_ms = 0;
    fake_api_fault(t.bed.api,
                   &(struct fake_api_fault){.method = "POST", .prefix = ALPHA, .status = 500});
    assert_int_equal(migrate("v1alpha1", NULL), 0);
    assert_true(fake_api_count(t.bed.api, "POST " ALPHA) > 0);
}

static void what_is_posted(void **state)
{
    (void)state;
    t.r.start_ms = 0;
    fake_api_fault(t.bed.api, &(struct fake_api_fault){.method = "POST", .status = 400});
    t.r.method = "migration";
    assert_int_equal(migrate("v1alpha1", NULL), -LH_E_UNAVAILABLE);
    assert_true(lh_str_eqz(fake_api_last_body(t.bed.api),
                           "{\"metadata\": {\"generateName\": \"leasehold-\", \"labels\": {\"app."
                           "kubernetes.io/managed-by\": \"leasehold\"}, \"annotations\": "
                           "{\"leasehold.dev/encryption-config\": \"d1\"}}, \"spec\": "
                           "{\"resource\": {\"group\": \"\", \"version\": \"v1\", \"resource\": "
                           "\"secrets\"}}}"));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(wildcards),
        CASE(by_updates),
        CASE(another_writer),
        CASE(another_writer_all_the_time),
        CASE(gone_meanwhile),
        CASE(one_that_is_refused_is_named),
        CASE(no_right_to_update),
        CASE(goes_on_behind),
        CASE(by_a_migration),
        CASE(no_migrations_here),
        CASE(a_migration_that_nobody_takes_on),
        CASE(a_migration_that_fails),
        CASE(no_right_to_migrate),
        CASE(waits_for_the_one_of_an_earlier_run),
        CASE(not_for_one_of_an_earlier_file),
        CASE(interrupted),
        CASE(by_the_alpha_version),
        CASE(what_is_posted),
    };

    if (lh_crypto_init(NULL) < 0 || lh_http_global_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests_name("encryption_rewrite", tests, NULL, NULL);
}
