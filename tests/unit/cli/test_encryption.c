/* SPDX-License-Identifier: Apache-2.0 */
/* encryption: which API server has loaded what, and files that go from step to step together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "encryption_bed.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

#define K32 "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define FILE_TEXT                                                                                  \
    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"          \
    "- resources:\n  - \"secrets\"\n  providers:\n  - secretbox:\n      keys:\n"                   \
    "      - name: \"key1\"\n        secret: " K32 "\n"
#define ADDED                                                                                      \
    "# leasehold rotation: secretbox:key1 -> secretbox:key2\n" FILE_TEXT                           \
    "      - name: \"key2\"\n        secret: " K32 "\n"

static struct {
    struct encryption_bed bed;
    struct enc_file file;
    char path[2][300];
    char *who;
} t;

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    if (encryption_bed_new(&t.bed) < 0)
        return -1;
    for (int i = 0; i < 2; i++)
        snprintf(t.path[i], sizeof(t.path[i]), "%s/%c.yaml", t.bed.scratch.path, 'a' + i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_fs_fail_at(0, 0);
    lh_free(t.who);
    enc_file_done(&t.file);
    encryption_bed_done(&t.bed);
    return 0;
}

/* -- what is loaded */

static void put_file(const char *text)
{
    assert_int_equal(lh_test_write(t.bed.scratch.fd, "a.yaml", text), 0);
    enc_file_done(&t.file);
    assert_int_equal(enc_file_read(t.path[0], &t.file, &t.bed.err), 0);
}

static void put_hash_of(const char *text)
{
    lh_auto_free char *page = NULL;
    char hex[2 * LH_HASH_LEN + 1];
    uint8_t digest[LH_HASH_LEN];

    lh_sha256(text, strlen(text), digest, NULL);
    lh_hex(digest, sizeof(digest), hex);
    page = lh_asprintf("# TYPE x gauge\napiserver_encryption_config_controller_last_config_info{"
                       "apiserver_id_hash=\"sha256:aa\",hash=\"sha256:%s\"} 1\n"
                       "process_start_time_seconds 1\n",
                       hex);
    fake_api_page(t.bed.api, "/metrics", 200, page);
}

static void put_start(double seconds)
{
    lh_auto_free char *page = lh_asprintf("process_start_time_seconds %.1f\n", seconds);

    fake_api_page(t.bed.api, "/metrics", 200, page);
}

static void put_lease(const char *name, int64_t at)
{
    char when[32];
    lh_auto_free char *json = NULL;

    lh_clock_format(at, when);
    /* The leases' times have six digits. */
    json = lh_asprintf("{\"metadata\":{\"name\":\"%s\",\"namespace\":\"kube-system\","
                       "\"labels\":{\"apiserver.kubernetes.io/identity\":\"kube-apiserver\"}},"
                       "\"spec\":{\"renewTime\":\"%.19s.000000Z\"}}",
                       name, when);
    fake_api_put(t.bed.api, "coordination.k8s.io/v1/leases", json);
}

/* NULL: all have loaded it. */
static const char *who(const char *urls)
{
    lh_free(t.who);
    t.who = NULL;
    assert_int_equal(
        enc_loaded_by_all(t.bed.loop, &t.bed.cfg, urls, 0, &t.file, &t.who, &t.bed.err), 0);
    return t.who;
}

static void by_its_hash(void **state)
{
    (void)state;
    put_file(FILE_TEXT);
    put_hash_of(FILE_TEXT);
    assert_null(who(NULL));
    put_hash_of("another");
    assert_non_null(strstr(who(NULL), "has loaded another content\n"));
}

static void by_the_step_it_is_at(void **state)
{
    lh_auto_buf struct lh_buf promoted, removed;

    (void)state;
    lh_buf_init(&promoted, 65536);
    lh_buf_init(&removed, 65536);
    assert_int_equal(enc_changed(lh_str(ADDED), ENC_PROMOTED, &promoted, &t.bed.err), 0);
    put_file(lh_buf_peek(&promoted).p);
    put_hash_of(ADDED);
    assert_non_null(strstr(who(NULL), "has loaded another content, that of step added\n"));
    assert_int_equal(enc_changed(lh_buf_peek(&promoted), ENC_REMOVED, &removed, &t.bed.err), 0);
    put_hash_of(lh_buf_peek(&removed).p);
    assert_non_null(strstr(who(NULL), "that of step removed\n"));
    put_file(ADDED);
    put_hash_of(FILE_TEXT);
    assert_non_null(strstr(who(NULL), "that of step before\n"));
}

static void by_its_start(void **state)
{
    (void)state;
    put_file(FILE_TEXT);
    put_start((double)t.file.st.st_ctim.tv_sec - 3600);
    assert_non_null(strstr(who(NULL), "has not started since\n"));
    /* A start in the second of the writing may have come before it. */
    put_start((double)t.file.st.st_ctim.tv_sec + 0.5);
    assert_non_null(strstr(who(NULL), "has not started since\n"));
    put_start((double)t.file.st.st_ctim.tv_sec + 3600);
    assert_null(who(NULL));
    /* Neither the one nor the other. */
    fake_api_page(t.bed.api, "/metrics", 200, "go_goroutines 7\n");
    assert_non_null(strstr(who(NULL), "has not started since\n"));
}

static void not_known(void **state)
{
    lh_auto_free char *urls = lh_asprintf("%s,https://127.0.0.1:1", t.bed.cfg.server);

    (void)state;
    put_file(FILE_TEXT);
    put_hash_of(FILE_TEXT);
    assert_non_null(strstr(who(urls), "  not known: https://127.0.0.1:1: "));
    fake_api_page(t.bed.api, "/metrics", 403, "no");
    assert_non_null(strstr(who(NULL), "answers 403 to /metrics\n"));
}

/* An API server that went away between its metrics and its leases crashed the command once. */
static void gone_between_two_questions(void **state)
{
    (void)state;
    put_file(FILE_TEXT);
    put_hash_of(FILE_TEXT);
    fake_api_fault(t.bed.api, &(struct fake_api_fault){.prefix = "/apis/coordination.k8s.io"});
    assert_non_null(strstr(who(NULL), "how many API servers there are is not known: https://"));
    assert_true(fake_api_count(t.bed.api, "GET /metrics") > 0);
    assert_true(fake_api_count(t.bed.api, "GET /apis/coordination.k8s.io") > 0);
    fake_api_fault_clear(t.bed.api);
    assert_null(who(NULL));
    fake_api_deny(t.bed.api, "coordination.k8s.io/v1/leases");
    assert_non_null(strstr(who(NULL), "answers 403 to the leases in kube-system\n"));
}

static void more_than_were_named(void **state)
{
    int64_t now = lh_clock_wall_ms();

    (void)state;
    put_file(FILE_TEXT);
    put_hash_of(FILE_TEXT);
    put_lease("one", now);
    put_lease("old", now - (int64_t)3600 * 1000);
    assert_null(who(NULL));
    put_lease("two", now);
    assert_non_null(strstr(who(NULL), "the cluster has 2 API servers, --servers names 1\n"));
}

/* -- several files */

static void files_are(const char *a, const char *b)
{
    assert_true(lh_test_file_is(t.bed.scratch.fd, "a.yaml", a));
    assert_true(lh_test_file_is(t.bed.scratch.fd, "b.yaml", b));
}

static int rotate(void)
{
    lh_auto_free char *both = lh_asprintf("%s,%s", t.path[0], t.path[1]);
    const struct enc_options o = {.file = both, .etcd_prefix = "/registry/"};

    return enc_rotate(&o);
}

static void put_files(const char *a, const char *b)
{
    assert_int_equal(lh_test_write(t.bed.scratch.fd, "a.yaml", a), 0);
    assert_int_equal(lh_test_write(t.bed.scratch.fd, "b.yaml", b), 0);
}

/* A run that ended between two files is completed, whatever its step was; nothing else is. */
static void an_interrupted_step_is_completed(void **state)
{
    lh_auto_buf struct lh_buf promoted, removed;

    (void)state;
    lh_buf_init(&promoted, 65536);
    lh_buf_init(&removed, 65536);
    enc_changed(lh_str(ADDED), ENC_PROMOTED, &promoted, NULL);
    enc_changed(lh_buf_peek(&promoted), ENC_REMOVED, &removed, NULL);
    put_files(ADDED, FILE_TEXT);
    assert_int_equal(rotate(), CLI_OK);
    files_are(ADDED, ADDED);
    put_files(lh_buf_peek(&promoted).p, ADDED);
    assert_int_equal(rotate(), CLI_OK);
    files_are(lh_buf_peek(&promoted).p, lh_buf_peek(&promoted).p);
    put_files(lh_buf_peek(&removed).p, lh_buf_peek(&promoted).p);
    assert_int_equal(rotate(), CLI_OK);
    files_are(lh_buf_peek(&removed).p, lh_buf_peek(&removed).p);
    /* Two steps apart, and the second ahead of the first. */
    put_files(lh_buf_peek(&promoted).p, FILE_TEXT);
    assert_int_equal(rotate(), CLI_USAGE);
    files_are(lh_buf_peek(&promoted).p, FILE_TEXT);
    put_files(FILE_TEXT, ADDED);
    assert_int_equal(rotate(), CLI_USAGE);
    files_are(FILE_TEXT, ADDED);
}

/* Every file call fails once: each file is what it was or what it shall be, and the next run ends
 * what this one began. */
static void no_failure_leaves_half_a_file(void **state)
{
    bool hit = true;

    (void)state;
    for (unsigned long n = 1; hit; n++) {
        struct enc_file a = {0}, b = {0};
        int status;

        put_files(FILE_TEXT, FILE_TEXT);
        lh_fs_fail_at(n, 5);
        status = rotate();
        hit = lh_fs_has_failed();
        lh_fs_fail_at(0, 0);
        assert_int_equal(status == CLI_OK, !hit || status == CLI_OK);
        assert_int_equal(enc_file_read(t.path[0], &a, &t.bed.err), 0);
        assert_int_equal(enc_file_read(t.path[1], &b, &t.bed.err), 0);
        assert_false(lh_atrest_findings_refused(&a.findings));
        assert_false(lh_atrest_findings_refused(&b.findings));
        if (a.n != b.n) {
            assert_true(b.n < a.n);
            assert_int_equal(rotate(), CLI_OK);
            assert_true(lh_test_file_is(t.bed.scratch.fd, "b.yaml", a.text));
        }
        enc_file_done(&a);
        enc_file_done(&b);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(by_its_hash),
        CASE(by_the_step_it_is_at),
        CASE(by_its_start),
        CASE(not_known),
        CASE(gone_between_two_questions),
        CASE(more_than_were_named),
        CASE(an_interrupted_step_is_completed),
        CASE(no_failure_leaves_half_a_file),
    };

    if (lh_crypto_init(NULL) < 0 || lh_http_global_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests_name("encryption", tests, NULL, NULL);
}
