/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/metrics.h"

static const double buckets[] = {0.1, 1};
static const struct lh_metric table[] = {
    {"a_total", "Counts a\nand \\ b.", LH_METRIC_COUNTER, {"store", "code", NULL}, NULL, 0, 3},
    {"g", "A gauge.", LH_METRIC_GAUGE, {NULL}, NULL, 0, 1},
    {"h_seconds", "A histogram.", LH_METRIC_HISTOGRAM, {"store", NULL}, buckets, 2, 2},
    {NULL, NULL, LH_METRIC_COUNTER, {NULL}, NULL, 0, 0},
};
enum { A, G, H };
static const struct lh_metric unregistered = {"u", "U.", LH_METRIC_COUNTER, {NULL}, NULL, 0, 1};

static struct lh_buf out;

static int setup(void **state)
{
    (void)state;
    lh_buf_init(&out, 65536);
    return lh_metrics_register(table, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_mem_fail_at(0);
    lh_buf_done(&out);
    lh_metrics_reset();
    return 0;
}

static const char *text(void)
{
    lh_buf_reset(&out);
    lh_metrics_write(&out);
    return lh_buf_peek(&out).p;
}

static void untouched_without_labels_is_zero(void **state)
{
    (void)state;
    assert_string_equal(text(), "# HELP g A gauge.\n# TYPE g gauge\ng 0\n");
}

static void series_are_sorted_and_escaped(void **state)
{
    (void)state;
    lh_metric_add(&table[A], 1, LH_LABELS("z", "200"));
    lh_metric_add(&table[A], 2, LH_LABELS("a\"\\\n\xff", "500"));
    lh_metric_add(&table[A], 2.5, LH_LABELS("z", "200"));
    lh_metric_set(&table[G], -0.1, NULL);
    assert_string_equal(text(), "# HELP a_total Counts a\\nand \\\\ b.\n"
                                "# TYPE a_total counter\n"
                                "a_total{store=\"a\\\"\\\\\\n\xef\xbf\xbd\",code=\"500\"} 2\n"
                                "a_total{store=\"z\",code=\"200\"} 3.5\n"
                                "# HELP g A gauge.\n# TYPE g gauge\ng -0.1\n");
    assert_true(lh_metric_value(&table[A], LH_LABELS("z", "200")) > 3.4);
    assert_true(lh_metric_value(&table[A], LH_LABELS("z", "201")) < 0.1);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    lh_metric_observe(&table[H], 0.1, LH_LABELS("s"));
    lh_metric_observe(&table[H], 0.5, LH_LABELS("s"));
    lh_metric_observe(&table[H], 7, LH_LABELS("s"));
    assert_non_null(strstr(text(), "h_seconds_bucket{store=\"s\",le=\"0.1\"} 1\n"
                                   "h_seconds_bucket{store=\"s\",le=\"1\"} 2\n"
                                   "h_seconds_bucket{store=\"s\",le=\"+Inf\"} 3\n"
                                   "h_seconds_sum{store=\"s\"} 7.6\n"
                                   "h_seconds_count{store=\"s\"} 3\n"));
}

static void too_many_series_become_other(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        lh_metric_add(&table[A], 1, LH_LABELS(name, "200"));
    }
    lh_metric_add(&table[A], 1, LH_LABELS("s1", "200"));
    assert_non_null(strstr(text(), "a_total{store=\"other\",code=\"other\"} 7\n"));
    assert_non_null(strstr(text(), "a_total{store=\"s1\",code=\"200\"} 2\n"));
    assert_null(strstr(text(), "s3"));
}

static void what_is_gone_is_not_written(void **state)
{
    (void)state;
    lh_metric_add(&table[A], 1, LH_LABELS("a", "200"));
    lh_metric_add(&table[A], 1, LH_LABELS("b", "200"));
    lh_metric_drop(&table[A], LH_LABELS("a", "200"));
    lh_metric_drop(&table[A], LH_LABELS("a", "200"));
    lh_metric_drop(&unregistered, NULL);
    assert_null(strstr(text(), "\"a\""));
    assert_non_null(strstr(text(), "a_total{store=\"b\",code=\"200\"} 1\n"));
}

static void numbers_read_back(void **state)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        {0.1, "g 0.1\n"},
        {1234567890123, "g 1234567890123\n"},
        {1.0 / 3, "g 0.3333333333333333\n"},
        {1e300, "g 1e+300\n"},
        {INFINITY, "g +Inf\n"},
        {-INFINITY, "g -Inf\n"},
        {NAN, "g NaN\n"},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        lh_metric_set(&table[G], rows[i].v, NULL);
        assert_non_null(strstr(text(), rows[i].want));
    }
}

static void misuse_is_ignored(void **state)
{
    (void)state;
    lh_metric_add(&unregistered, 1, NULL);
    lh_metric_add(&table[A], -1, LH_LABELS("z", "200"));
    lh_metric_add(&table[A], NAN, LH_LABELS("z", "200"));
    lh_metric_observe(&table[G], 1, NULL);
    lh_metric_add(&table[H], 1, LH_LABELS("s"));
    assert_string_equal(text(), "# HELP g A gauge.\n# TYPE g gauge\ng 0\n");
    assert_int_equal(lh_metrics_register(table, NULL), 0);
    lh_metric_add(&table[A], 1, LH_LABELS("short"));
    assert_non_null(strstr(text(), "a_total{store=\"short\",code=\"\"} 1\n"));
}

static void torture(void **state)
{
    size_t live;
    int dropped = 0;

    (void)state;
    lh_metrics_reset();
    live = lh_mem_live_blocks();
    for (unsigned long nth = 1; nth < 12; nth++) {
        int rc;

        lh_mem_fail_at(nth);
        rc = lh_metrics_register(table, NULL);
        lh_metric_add(&table[A], 1, LH_LABELS("a", "b"));
        lh_metric_observe(&table[H], 1, LH_LABELS("a"));
        lh_mem_fail_at(0);
        if (rc < 0)
            assert_int_equal(rc, -LH_E_NOMEM);
        else
            dropped += lh_metric_value(&table[A], LH_LABELS("a", "b")) < 1;
        text();
        lh_buf_done(&out);
        lh_metrics_reset();
        assert_int_equal(lh_mem_live_blocks(), live);
    }
    assert_int_equal(dropped, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(untouched_without_labels_is_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(series_are_sorted_and_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(histograms_are_cumulative, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_series_become_other, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(torture, setup, teardown),
    };

    return cmocka_run_group_tests_name("core/metrics", tests, NULL, NULL);
}
