/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"

static const char two_items[] =
    "{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\"},"
    "{\"name\":\"kv\",\"path\":\"secret/a\",\"files\":[{\"path\":\"conf/a.json\",\"format\":"
    "\"json\"}]}],\"refresh\":{\"interval\":\"60s\"},\"overlap\":\"30s\"}";

static void two_secrets(void)
{
    fake_role("database/creds/x", 20 * SEC, 60 * SEC, true);
    fake_kv("secret/a", "v1");
    bench_projection(two_items);
}

static void files_appear_together_and_only_then_it_is_ready(void **state)
{
    char text[256];

    (void)state;
    two_secrets();
    fake_kv_delete("secret/a");
    bench_engine();
    bench_run(10 * SEC);
    assert_false(lh_engine_is_ready(b.e));
    assert_string_equal(bench_read("db/username", text), "");
    fake_kv("secret/a", "v2");
    bench_ready();
    assert_int_equal(b.ready, 1);
    assert_int_equal(b.changed, 0);
    assert_string_equal(bench_read("conf/a.json", text),
                        "{\"password\":\"v2\",\"username\":\"v2\"}");
    assert_true(bench_file_works("db/username"));
}

static void a_rotation_changes_both_files_at_once_and_keeps_the_others(void **state)
{
    char before[256], user[256], password[256], conf[256];

    (void)state;
    two_secrets();
    bench_engine();
    bench_ready();
    bench_read("db/username", before);
    for (int i = 0; i < 1200; i++) {
        bench_run(50);
        bench_read("db/username", user);
        assert_string_equal(bench_read("db/password", password), user);
        assert_true(fake_works(user));
    }
    assert_string_not_equal(user, before);
    assert_int_equal(b.changed, 1);
    assert_string_equal(bench_read("conf/a.json", conf),
                        "{\"password\":\"v1\",\"username\":\"v1\"}");
}

static void a_renewal_touches_no_file(void **state)
{
    struct stat a, z;

    (void)state;
    fake_role("database/creds/x", 20 * SEC, 0, true);
    fake_kv("secret/a", "v1");
    bench_projection(two_items);
    bench_engine();
    bench_ready();
    assert_int_equal(fstatat(b.files.fd, "..data", &a, 0), 0);
    bench_run(10 * MIN);
    assert_int_equal(fstatat(b.files.fd, "..data", &z, 0), 0);
    assert_int_equal(a.st_ino, z.st_ino);
    assert_int_equal(fake_issued(NULL), 1);
    assert_int_equal(b.changed, 0);
}

static void equal_paths_are_one_credential_under_two_names(void **state)
{
    char a[256], z[256];

    (void)state;
    fake_role("database/creds/x", 20 * SEC, 60 * SEC, true);
    bench_projection("{\"items\":[{\"name\":\"u\",\"path\":\"database/creds/x\",\"files\":"
                     "[{\"path\":\"u\",\"key\":\"username\"}]},"
                     "{\"name\":\"p\",\"path\":\"database/creds/x\",\"files\":"
                     "[{\"path\":\"p\",\"key\":\"password\"}]}]}");
    bench_engine();
    bench_ready();
    assert_int_equal(fake_issued(NULL), 1);
    for (int i = 0; i < 20; i++) {
        bench_run(10 * SEC);
        assert_string_equal(bench_read("u", a), bench_read("p", z));
    }
    assert_true(fake_issued(NULL) > 2);
}

static void modes_are_the_projections(void **state)
{
    struct stat st;

    (void)state;
    fake_kv("secret/a", "v1");
    bench_projection(
        "{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\",\"files\":[{\"path\":\"x\","
        "\"key\":\"username\"},{\"path\":\"y\",\"key\":\"username\",\"mode\":\"0400\"}]"
        "}]}");
    bench_engine();
    bench_ready();
    assert_int_equal(fstatat(b.files.fd, "x", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(fstatat(b.files.fd, "y", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
}

static void the_cause_names_reason_store_and_what_to_do(void **state)
{
    struct lh_buf cause;

    (void)state;
    fake_kv("secret/a", "v1");
    bench_projection("{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\",\"files\":[{\"path\":\"x\","
                     "\"key\":\"pasword\"}]}]}");
    bench_engine();
    lh_buf_init(&cause, 4096);
    lh_engine_cause(b.e, &cause);
    assert_non_null(strstr(lh_buf_peek(&cause).p, "Starting: SecretStore \"vault\""));
    bench_run(5 * SEC);
    lh_buf_reset(&cause);
    lh_engine_cause(b.e, &cause);
    assert_non_null(strstr(lh_buf_peek(&cause).p, LH_REASON_KeyNotFound));
    assert_non_null(strstr(lh_buf_peek(&cause).p, "\"vault\": \"secret/a\": item a: "));
    assert_null(strstr(lh_buf_peek(&cause).p, "v1"));
    fake.down = true;
    bench_run(70 * SEC);
    lh_buf_reset(&cause);
    lh_engine_cause(b.e, &cause);
    assert_non_null(strstr(lh_buf_peek(&cause).p, LH_REASON_Unreachable));
    lh_buf_done(&cause);
}

static void a_file_that_somebody_removed_is_had_again_without_another(void **state)
{
    char conf[256];

    (void)state;
    fake_role("database/creds/x", 20 * SEC, 60 * SEC, true);
    fake_kv("secret/a", "v1");
    bench_projection(two_items);
    bench_engine();
    bench_ready();
    assert_int_equal(unlinkat(b.files.fd, "conf", 0), 0);
    bench_run(60 * SEC); /* the next rotation needs it */
    assert_string_equal(bench_read("conf/a.json", conf),
                        "{\"password\":\"v1\",\"username\":\"v1\"}");
    assert_true(bench_file_works("db/username"));
    assert_int_equal(fake_issued(NULL), 2);
}

static void stale_values_are_removed_where_that_is_asked_for(void **state)
{
    char text[256];

    (void)state;
    fake_kv("secret/a", "v1");
    fake_kv("secret/b", "w1");
    bench_projection(
        "{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\",\"key\":"
        "\"username\"}]},{\"name\":\"b\",\"path\":\"secret/b\",\"files\":[{\"path\":\"b\",\"key\":"
        "\"username\"}]}],\"refresh\":{\"interval\":\"30s\"},\"staleness\":{\"maxAge\":\"5m\","
        "\"then\":\"Remove\"}}");
    bench_engine();
    bench_ready();
    fake_kv_delete("secret/a");
    bench_run(4 * MIN);
    assert_string_equal(bench_read("a", text), "v1");
    bench_run(2 * MIN);
    assert_string_equal(bench_read("a", text), "");
    assert_string_equal(bench_read("b", text), "w1");
    fake_kv("secret/a", "v2");
    bench_run(6 * MIN);
    assert_string_equal(bench_read("a", text), "v2");
}

static void stale_values_are_kept_where_that_is_asked_for(void **state)
{
    char text[256];

    (void)state;
    fake_kv("secret/a", "v1");
    bench_projection(
        "{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\",\"key\":"
        "\"username\"}]}],\"refresh\":{\"interval\":\"30s\"},\"staleness\":{\"maxAge\":\"5m\","
        "\"then\":\"Keep\"}}");
    bench_engine();
    bench_ready();
    fake.down = true;
    bench_run(30 * MIN);
    assert_string_equal(bench_read("a", text), "v1");
    lh_engine_measure(b.e);
    assert_true(lh_metric_value(&lh_engine_metrics[18], LH_LABELS("vault")) > 1700);
}

static void a_volume_that_is_full_is_tried_again_without_another_credential(void **state)
{
    (void)state;
    fake_role("database/creds/x", HOUR, 0, true);
    fake_kv("secret/a", "v1");
    bench_projection(two_items);
    assert_int_equal(mkdirat(b.files.fd, "..data", 0700), 0); /* in the way */
    bench_engine();
    bench_run(30 * SEC);
    assert_false(lh_engine_is_ready(b.e));
    assert_true(b.failed > 2);
    assert_string_equal(b.last.reason, LH_REASON_PublishFailed);
    assert_int_equal(unlinkat(b.files.fd, "..data", AT_REMOVEDIR), 0);
    bench_ready();
    assert_int_equal(fake_issued(NULL), 1);
}

static void the_end_leaves_files_but_no_lease_and_no_state(void **state)
{
    struct stat st;

    (void)state;
    two_secrets();
    bench_engine();
    bench_ready();
    assert_int_equal(fstatat(b.state.fd, "state", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    bench_end(true);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_tokens(), 0);
    assert_int_equal(fstatat(b.state.fd, "state", &st, 0), -1);
    assert_int_equal(fstatat(b.files.fd, "db/username", &st, 0), 0);
}

static void status_and_metrics_say_what_is_and_no_value(void **state)
{
    struct lh_buf text;
    lh_json *status;

    (void)state;
    two_secrets();
    fake_kv("secret/a", "canary-value");
    bench_engine();
    bench_ready();
    bench_run(MIN);
    status = lh_engine_status(b.e);
    lh_buf_init(&text, 65536);
    lh_json_write(status, LH_JSON_COMPACT, &text);
    lh_engine_measure(b.e);
    lh_metrics_write(&text);
    lh_json_unref(status);
    assert_non_null(strstr(lh_buf_peek(&text).p, "\"ready\":true"));
    assert_non_null(strstr(lh_buf_peek(&text).p, "\"db/username\""));
    assert_non_null(strstr(lh_buf_peek(&text).p, "leasehold_issues_total{store=\"vault\"} 2"));
    assert_non_null(strstr(lh_buf_peek(&text).p, "leasehold_logins_total{store=\"vault\"} 1"));
    assert_null(strstr(lh_buf_peek(&text).p, "canary"));
    assert_null(strstr(lh_buf_peek(&text).p, "u-1"));
    lh_buf_done(&text);
}

static void once_publishes_and_renews_nothing(void **state)
{
    (void)state;
    b.once = true;
    two_secrets();
    bench_engine();
    bench_ready();
    bench_run(10 * MIN);
    assert_int_equal(fake_count(FAKE_RENEW_LEASE, NULL), 0);
    assert_int_equal(b.changed, 0);
}

static void optional_items_that_are_all_absent_are_ready_with_nothing(void **state)
{
    char text[256];

    (void)state;
    bench_projection(
        "{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\",\"optional\":true,\"files\":"
        "[{\"path\":\"a\",\"key\":\"username\"}]}],\"refresh\":{\"interval\":\"30s\"}}");
    bench_engine();
    bench_ready();
    assert_string_equal(bench_read("a", text), "");
    fake_kv("secret/a", "v1");
    bench_run(35 * SEC);
    assert_string_equal(bench_read("a", text), "v1");
    assert_int_equal(b.changed, 1);
}

static void a_store_that_is_wrong_about_kv2_is_said_once(void **state)
{
    (void)state;
    fake.kv2_mismatch = true;
    two_secrets();
    bench_engine();
    bench_ready();
    assert_int_equal(b.failed, 2); /* once an item */
    assert_string_equal(b.last.reason, LH_REASON_KVVersionMismatch);
    fake_kv("secret/a", "v2");
    bench_run(10 * MIN);
    assert_int_equal(b.failed, 2);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(files_appear_together_and_only_then_it_is_ready),
        T(a_rotation_changes_both_files_at_once_and_keeps_the_others),
        T(a_renewal_touches_no_file),
        T(equal_paths_are_one_credential_under_two_names),
        T(modes_are_the_projections),
        T(the_cause_names_reason_store_and_what_to_do),
        T(a_file_that_somebody_removed_is_had_again_without_another),
        T(stale_values_are_removed_where_that_is_asked_for),
        T(stale_values_are_kept_where_that_is_asked_for),
        T(a_volume_that_is_full_is_tried_again_without_another_credential),
        T(the_end_leaves_files_but_no_lease_and_no_state),
        T(status_and_metrics_say_what_is_and_no_value),
        T(once_publishes_and_renews_nothing),
        T(optional_items_that_are_all_absent_are_ready_with_nothing),
        T(a_store_that_is_wrong_about_kv2_is_said_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
