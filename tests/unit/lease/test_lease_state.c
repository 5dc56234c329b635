/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "leasehold/core/mem.h"
#include "leasehold/lease/state.h"

static void fill(struct lh_state *st)
{
    struct lh_state_token *t = lh_state_add_token(st);
    struct lh_state_lease *l;
    struct lh_err err;

    assert_int_equal(lh_secret_copy("s.tok\0en", 8, &t->value, &err), 0);
    t->accessor = lh_strdup("acc");
    t->life = (struct lh_life){.start = 5, .ms = 60000, .asked_ms = 60000, .renewable = true};
    t->id = 3;
    l = lh_state_add_lease(st);
    l->grant = lh_strdup("ab12");
    l->lease_id = lh_strdup("database/creds/x/1");
    l->note = lh_strdup("db/username\ndb:password");
    l->kind = 1;
    l->token_id = 3;
    l->life = (struct lh_life){.start = 7, .ms = 0, .asked_ms = 0, .ending = true};
    l->rotation.last_wall_ms = 1700000000000;
    l->early_until = INT64_MAX;
    l->published = true;
}

static void print(const struct lh_state *st, const char *key, struct lh_buf *b)
{
    struct lh_err err;

    lh_buf_init(b, LH_STATE_MAX);
    assert_int_equal(lh_state_write(st, key, b, &err), 0);
}

static void what_is_written_is_read(void **state)
{
    struct lh_state st = {0}, back = {0};
    struct lh_buf a, b;
    struct lh_err err;

    (void)state;
    fill(&st);
    print(&st, "pod-1", &a);
    assert_int_equal(lh_state_parse(lh_buf_peek(&a), "pod-1", &back, &err), 0);
    assert_int_equal(back.n_tokens, 1);
    assert_int_equal(back.n_leases, 1);
    assert_true(lh_secret_equal(back.tokens[0].value, st.tokens[0].value));
    assert_true(back.tokens[0].life.renewable);
    assert_true(back.leases[0].life.ending);
    assert_null(back.leases[0].version);
    assert_string_equal(back.leases[0].note, "db/username\ndb:password");
    print(&back, "pod-1", &b);
    assert_true(lh_str_eq(lh_buf_peek(&a), lh_buf_peek(&b)));
    lh_buf_done(&a);
    lh_buf_done(&b);
    lh_state_done(&st);
    lh_state_done(&back);
}

static void another_key_is_refused(void **state)
{
    struct lh_state st = {0}, back = {0};
    struct lh_buf b;
    struct lh_err err;

    (void)state;
    fill(&st);
    print(&st, "pod-1", &b);
    assert_int_equal(lh_state_parse(lh_buf_peek(&b), "pod-2", &back, &err), -LH_E_INVALID);
    assert_int_equal(back.n_tokens, 0);
    lh_buf_done(&b);
    lh_state_done(&st);
}

static void every_damaged_byte_and_every_cut_is_refused(void **state)
{
    struct lh_state st = {0}, back = {0};
    struct lh_buf b;
    struct lh_err err;
    struct lh_str all;
    unsigned accepted = 0;

    (void)state;
    fill(&st);
    print(&st, "pod-1", &b);
    all = lh_buf_peek(&b);
    for (size_t i = 0; i < all.n; i++) {
        ((char *)all.p)[i] ^= 1;
        accepted += lh_state_parse(all, "pod-1", &back, &err) == 0;
        ((char *)all.p)[i] ^= 1;
        accepted += lh_state_parse((struct lh_str){all.p, i}, "pod-1", &back, &err) == 0;
    }
    assert_int_equal(accepted, 0);
    assert_int_equal(back.n_tokens, 0);
    lh_buf_done(&b);
    lh_state_done(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(every_damaged_byte_and_every_cut_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
