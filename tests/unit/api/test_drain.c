/* SPDX-License-Identifier: Apache-2.0 */
/* What command and controller say to each other about a drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "leasehold/api/drain.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static void words(void **state)
{
    (void)state;
    assert_int_equal(lh_drain_read(NULL), LH_DRAIN_NOT);
    assert_int_equal(lh_drain_read("Keep"), LH_DRAIN_KEEP);
    assert_int_equal(lh_drain_read("Delete"), LH_DRAIN_DELETE);
    /* A slip of whoever annotates by hand deletes nothing. */
    assert_int_equal(lh_drain_read("delete"), LH_DRAIN_KEEP);
    assert_int_equal(lh_drain_read(""), LH_DRAIN_KEEP);
    assert_string_equal(lh_drain_word(LH_DRAIN_DELETE), "Delete");
}

static const struct phase {
    const char *name;
    struct lh_drain_report r;
    bool done;
} phases[] = {
    {"nothing is left", {.idle = true, .total = 3}, true},
    {"something is worked on", {.total = 3}, false},
    {"a projection is left", {.idle = true, .projections = 1, .total = 3}, false},
    {"a Secret is left", {.idle = true, .secrets = 1}, false},
    {"a token lives", {.idle = true, .tokens = 1}, false},
};

static void phase(void **state)
{
    const struct phase *p = *state;
    lh_auto_json lh_json *o = NULL;
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 4096);
    assert_int_equal(lh_drain_report_is_done(&p->r), p->done);
    assert_int_equal(lh_drain_report_write(&p->r, &b, NULL), 0);
    assert_int_equal(lh_json_parse(lh_buf_peek(&b), NULL, &o, NULL), 0);
    assert_string_equal(lh_json_get_z(o, "phase"), p->done ? "Drained" : "Draining");
    assert_int_equal(lh_json_get_int(o, "total", -1), p->r.total);
}

/* An annotation has its size: past it, items are counted, and texts are cut between characters. */
static void bounds(void **state)
{
    struct lh_drain_report r = {.copies = LH_DRAIN_KEEP};
    char text[LH_DRAIN_TEXT_MAX * 2];
    const struct lh_drain_item item = {.kind = "Token",
                                       .namespace_ = "shop",
                                       .name = "db",
                                       .store = "vault",
                                       .accessor = "a1",
                                       .reason = LH_REASON_RevocationGivenUp,
                                       .message = text,
                                       .given_up = true};
    lh_auto_json lh_json *o = NULL;
    lh_auto_buf struct lh_buf b;
    const lh_json *first;

    (void)state;
    lh_buf_init(&b, (size_t)64 * 1024);
    memset(text, 'x', LH_DRAIN_TEXT_MAX - 1);
    snprintf(text + LH_DRAIN_TEXT_MAX - 1, LH_DRAIN_TEXT_MAX, "\xc3\xa4 and more");
    for (int i = 0; i < LH_DRAIN_ITEMS_MAX + 7; i++)
        assert_int_equal(lh_drain_report_add(&r, &item, NULL), 0);
    assert_int_equal(lh_drain_report_write(&r, &b, NULL), 0);
    lh_drain_report_done(&r);
    assert_int_equal(lh_json_parse(lh_buf_peek(&b), NULL, &o, NULL), 0);
    assert_int_equal(lh_json_len(lh_json_get(o, "items")), LH_DRAIN_ITEMS_MAX);
    assert_int_equal(lh_json_get_int(o, "more", 0), 7);
    assert_string_equal(lh_json_get_z(o, "copies"), "Keep");
    first = lh_json_at(lh_json_get(o, "items"), 0);
    assert_string_equal(lh_json_get_z(first, "accessor"), "a1");
    assert_int_equal(strlen(lh_json_get_z(first, "message")), LH_DRAIN_TEXT_MAX - 1);
    assert_true(lh_json_get_bool(first, "givenUp", false));
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(phases) + 2] = {{"words", words, NULL, NULL, NULL},
                                                         {"bounds", bounds, NULL, NULL, NULL}};

    for (size_t i = 0; i < LH_ARRAY_LEN(phases); i++)
        tests[i + 2] =
            (struct CMUnitTest){phases[i].name, phase, NULL, NULL, (void *)(uintptr_t)&phases[i]};
    return _cmocka_run_group_tests("drain", tests, LH_ARRAY_LEN(tests), NULL, NULL);
}
