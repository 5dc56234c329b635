/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../../webhook/ca_plan.h"
#include "leasehold/core/mem.h"

#define DAY ((int64_t)24 * 3600 * 1000)

/* A CA of 300 days and a leaf of 30, both from day 0, unless the row says otherwise. */
static const struct row {
    const char *name;
    struct ca_facts f;
    int64_t now;
    enum ca_step want;
    int64_t next; /* with NONE */
} rows[] = {
    {"nothing there: a CA first", {0}, 0, CA_STEP_NEW_CA, 0},
    {"a CA without its key is replaced",
     {.has_ca = true, .ca_until_ms = 300 * DAY},
     DAY,
     CA_STEP_NEW_CA,
     0},
    {"a CA without a leaf issues one",
     {.has_ca = true, .has_ca_key = true, .ca_until_ms = 300 * DAY},
     DAY,
     CA_STEP_NEW_LEAF,
     0},
    {"a young leaf waits for two thirds of its life",
     {true, true, 0, 300 * DAY, true, true, 0, 30 * DAY, true, 0},
     DAY,
     CA_STEP_NONE,
     20 * DAY},
    {"a leaf at two thirds is replaced",
     {true, true, 0, 300 * DAY, true, true, 0, 30 * DAY, true, 0},
     20 * DAY,
     CA_STEP_NEW_LEAF,
     0},
    {"a CA at two thirds is replaced first",
     {true, true, 0, 300 * DAY, true, true, 0, 30 * DAY, true, 0},
     200 * DAY,
     CA_STEP_NEW_CA,
     0},
    {"a new CA does not sign before everybody trusts it",
     {true, true, 0, 300 * DAY, true, false, 0, 30 * DAY, false, 0},
     DAY,
     CA_STEP_NONE,
     30 * DAY},
    {"nor right after",
     {true, true, 0, 300 * DAY, true, false, 0, 30 * DAY, true, DAY},
     DAY + 1000,
     CA_STEP_NONE,
     DAY + 10000},
    {"but then",
     {true, true, 0, 300 * DAY, true, false, 0, 30 * DAY, true, DAY},
     DAY + 10000,
     CA_STEP_NEW_LEAF,
     0},
    {"a leaf that ends does not wait for trust",
     {true, true, 0, 300 * DAY, true, false, 0, 30 * DAY, false, 0},
     30 * DAY,
     CA_STEP_NEW_LEAF,
     0},
};

static void plans(void **state)
{
    const struct row *r = *state;
    int64_t next = -1;

    assert_int_equal(ca_plan(&r->f, r->now, &next), r->want);
    if (r->want == CA_STEP_NONE)
        assert_int_equal(next, r->next);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows)];

    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, plans, NULL, NULL, (void *)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
