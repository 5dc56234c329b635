/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/doc_date.h"

static int teardown(void **state)
{
    (void)state;
    unsetenv("SOURCE_DATE_EPOCH");
    lh_clock_real();
    return 0;
}

static void today_unless_the_build_says_otherwise(void **state)
{
    char date[LH_DOC_DATE];

    (void)state;
    lh_clock_fake(0, 1795500000000);
    unsetenv("SOURCE_DATE_EPOCH");
    lh_doc_date(date);
    assert_string_equal(date, "November 24, 2026");
    setenv("SOURCE_DATE_EPOCH", "86400", 1);
    lh_doc_date(date);
    assert_string_equal(date, "January 02, 1970");
    setenv("SOURCE_DATE_EPOCH", "yesterday", 1);
    lh_doc_date(date);
    assert_string_equal(date, "November 24, 2026");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(today_unless_the_build_says_otherwise, teardown),
    };

    return cmocka_run_group_tests_name("core/doc_date", tests, NULL, NULL);
}
