/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

static int teardown(void **state)
{
    (void)state;
    lh_clock_real();
    return 0;
}

static void fake_stands_still_until_stepped(void **state)
{
    (void)state;
    lh_clock_fake(1000, 5000);
    assert_true(lh_clock_is_fake());
    assert_int_equal(lh_clock_now(), 1000);
    assert_int_equal(lh_clock_wall_ms(), 5000);
    lh_clock_step(250);
    assert_int_equal(lh_clock_now(), 1250);
    assert_int_equal(lh_clock_wall_ms(), 5250);
    lh_clock_real();
    assert_false(lh_clock_is_fake());
}

static void real_is_boot_time(void **state)
{
    struct timespec ts;
    lh_ms now = lh_clock_now();

    (void)state;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    assert_true((lh_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 - now < 5000);
    assert_true(lh_clock_wall_ms() / 1000 - (int64_t)time(NULL) < 5);
}

static void formats_and_parses(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000 + 86399999, "2000-02-29T23:59:59.999Z"},
        {1798761599123, "2026-12-31T23:59:59.123Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    char buf[32];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        int64_t back = 1;

        assert_string_equal(lh_clock_format(rows[i].ms, buf), rows[i].text);
        assert_int_equal(lh_clock_parse(rows[i].text, &back), 0);
        assert_true(back == rows[i].ms);
    }
    assert_string_equal(lh_clock_format(INT64_MAX, buf), "0000-00-00T00:00:00.000Z");
}

static void parses_variants(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        {"1970-01-01T00:00:01Z", 1000},
        {"1970-01-01T01:00:01+01:00", 1000},
        {"1969-12-31T19:30:01-04:30", 1000},
        {"1970-01-01T00:00:01.5Z", 1500},
        {"1970-01-01T00:00:01.123456789Z", 1123},
        {"1970-01-01t00:00:01z", 1000},
        {"1970-01-01T00:00:60Z", 60000},
        {"1970-01-01T00:00:01", -1},
        {"1970-01-01T00:00:01.Z", -1},
        {"1970-02-29T00:00:01Z", -1},
        {"1900-02-29T00:00:01Z", -1},
        {"1970-13-01T00:00:01Z", -1},
        {"1970-00-01T00:00:01Z", -1},
        {"1970-01-01T24:00:01Z", -1},
        {"1970-01-01T00:60:01Z", -1},
        {"1970-01-01T00:00:61Z", -1},
        {"1970-01-01T00:00:01+24:00", -1},
        {"1970-01-01T00:00:01+0100", -1},
        {"1970-01-01T00:00:01ZZ", -1},
        {"70-01-01T00:00:01Z", -1},
        {"", -1},
        {"1970-01-0", -1},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        int64_t ms = -1;

        assert_int_equal(lh_clock_parse(rows[i].text, &ms), rows[i].ms < 0 ? -1 : 0);
        assert_true(ms == rows[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(fake_stands_still_until_stepped, teardown),
        cmocka_unit_test(real_is_boot_time),
        cmocka_unit_test(formats_and_parses),
        cmocka_unit_test(parses_variants),
    };

    return cmocka_run_group_tests_name("core/clock", tests, NULL, NULL);
}
