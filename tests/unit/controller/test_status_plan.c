/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "status_plan.h"

#define THEN "2026-01-02T03:04:05Z"
#define NOW  "2026-01-02T04:05:06Z"

static const int64_t now_ms = 1767326706789; /* NOW and 789 ms */

#define READY(status, reason, gen)                                                                 \
    "{\"type\":\"Ready\",\"status\":\"" status "\",\"reason\":\"" reason                           \
    "\",\"message\":\"was\",\"observedGeneration\":" gen ",\"lastTransitionTime\":\"" THEN "\"}"
#define ITEM(version)             "{\"name\":\"db\",\"version\":\"" version "\",\"publishedTime\":\"" THEN "\"}"
#define STATUS(conditions, items) "{\"conditions\":[" conditions "],\"items\":[" items "]}"

/* Wanted is always Ready True Fresh at generation 2, with item db of version v1. */
static struct row {
    const char *name, *was;
    const char *since, *published; /* NULL: nothing is to be written */
} rows[] = {
    {"the same is not written again", STATUS(READY("True", "Fresh", "2"), ITEM("v1")), NULL, NULL},
    {"a first status has the time of now", NULL, NOW, NOW},
    {"a new generation is seen, its time stays", STATUS(READY("True", "Fresh", "1"), ITEM("v1")),
     THEN, THEN},
    {"another status moves the time", STATUS(READY("False", "Sealed", "2"), ITEM("v1")), NOW, THEN},
    {"another reason alone does not", STATUS(READY("True", "Other", "2"), ITEM("v1")), THEN, THEN},
    {"another version was published now", STATUS(READY("True", "Fresh", "2"), ITEM("v0")), THEN,
     NOW},
    {"an item that went is written", STATUS(READY("True", "Fresh", "2"), ITEM("v1") "," ITEM("x")),
     THEN, THEN},
    {"a damaged status is written anew", "{\"conditions\":[1],\"items\":{}}", NOW, NOW},
};

static lh_json *was, *out; /* released in the teardown */

static int teardown(void **state)
{
    (void)state;
    lh_json_unref(was);
    lh_json_unref(out);
    was = out = NULL;
    return 0;
}

static int plan(const char *message)
{
    const struct condition ready = {"Ready", CONDITION_TRUE, "Fresh", message};
    const struct status_item item = {"db", "v1"};
    const struct status_want want = {
        .generation = 2, .conditions = &ready, .n_conditions = 1, .items = &item, .n_items = 1};

    return status_plan(was, &want, now_ms, &out, NULL);
}

static void writes_transitions_only(void **state)
{
    const struct row *r = *state;
    const lh_json *c;

    if (r->was)
        assert_int_equal(lh_json_parse(lh_str(r->was), NULL, &was, NULL), 0);
    assert_int_equal(plan("is"), 0);
    if (!r->since) {
        assert_null(out);
        return;
    }
    assert_int_equal(lh_json_len(lh_json_get(out, "conditions")), 1);
    assert_int_equal(lh_json_len(lh_json_get(out, "items")), 1);
    c = lh_json_at(lh_json_get(out, "conditions"), 0);
    assert_string_equal(lh_json_get_z(c, "lastTransitionTime"), r->since);
    assert_string_equal(lh_json_get_z(c, "message"), "is");
    assert_int_equal(lh_json_get_int(c, "observedGeneration", 0), 2);
    assert_string_equal(lh_json_get_z(lh_json_at(lh_json_get(out, "items"), 0), "publishedTime"),
                        r->published);
}

static void what_was_written_is_not_written_again(void **state)
{
    (void)state;
    assert_int_equal(plan("a"), 0);
    was = out;
    out = NULL;
    assert_non_null(was);
    assert_int_equal(plan("another text"), 0);
    assert_null(out);
}

static void a_long_message_is_cut_between_letters(void **state)
{
    char text[2002];
    struct lh_str cut;

    (void)state;
    text[0] = 'x'; /* the limit falls into a letter of two bytes */
    for (size_t i = 1; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(plan(text), 0);
    assert_true(
        lh_json_str(lh_json_get(lh_json_at(lh_json_get(out, "conditions"), 0), "message"), &cut));
    assert_int_equal(cut.n, 1023);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + 2];
    size_t n = 0;

    lh_json_init();
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] =
            (struct CMUnitTest){rows[i].name, writes_transitions_only, NULL, teardown, &rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
        what_was_written_is_not_written_again, NULL, teardown);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
        a_long_message_is_cut_between_letters, NULL, teardown);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
