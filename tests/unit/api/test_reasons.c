/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/reasons.h"

static const struct row {
    const char *name;
} words[] = {
#define WORD(w) {#w},
    LH_REASONS(WORD)
#undef WORD
};

static void word_is_explained(void **state)
{
    const struct row *r = *state;
    const struct lh_reason *reason = lh_reason_find(r->name);

    assert_non_null(reason);
    assert_string_equal(reason->word, r->name);
    assert_true(strlen(reason->meaning) > 20);
    assert_true(strlen(reason->action) > 15);
    assert_int_equal(reason->action[strlen(reason->action) - 1], '.');
}

static void list_is_sorted_and_nothing_else(void **state)
{
    const struct lh_reason *list = lh_reason_list();
    size_t n = 0;

    (void)state;
    for (; list[n].word; n++) {
        if (n)
            assert_true(strcmp(list[n - 1].word, list[n].word) < 0);
    }
    assert_int_equal(n, sizeof(words) / sizeof(words[0]));
}

static void other_words_are_unknown(void **state)
{
    (void)state;
    assert_null(lh_reason_find("Unknown"));
    assert_null(lh_reason_find("sealed"));
    assert_null(lh_reason_find(""));
    assert_null(lh_reason_find("ZZZ"));
}

static void constants_hold_their_own_name(void **state)
{
    (void)state;
    assert_string_equal(LH_REASON_PathNotAllowed, "PathNotAllowed");
    assert_string_equal(LH_REASON_Fresh, "Fresh");
}

int main(void)
{
    ROWS(word_is_explained, words);
    ONE(list_is_sorted_and_nothing_else);
    ONE(other_words_are_unknown);
    ONE(constants_hold_their_own_name);
    return rows_run("reasons");
}
