/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "ledger_record.h"

enum { END = 1000 * 1000, TERM = 7 };

static struct row {
    const char *name;
    int64_t term, wall_ms;
    bool live, overlapped, revoked, refused;
    unsigned tries;
    enum ledger_act want;
} rows[] = {
    {"in use", TERM, 1, .live = true, .want = LEDGER_KEEP},
    {"in use past its first end, since it is renewed", TERM, END, .live = true,
     .want = LEDGER_KEEP},
    {"replaced or its projection gone", TERM, 1, .live = true, .overlapped = true,
     .want = LEDGER_REVOKE},
    {"an earlier leader's, still in the copies", TERM - 1, 1, .want = LEDGER_KEEP},
    {"an earlier leader's, replaced", TERM - 1, 1, .overlapped = true, .want = LEDGER_REVOKE},
    {"an earlier leader's, past its end, and nobody has asked", TERM - 1, END, .overlapped = true,
     .want = LEDGER_REVOKE},
    {"an earlier leader's, past its end, and asked in vain", TERM - 1, END, .overlapped = true,
     .tries = 1, .want = LEDGER_DROP},
    {"an earlier term's although we hold it", TERM - 1, 1, .live = true, .overlapped = true,
     .want = LEDGER_REVOKE},
    {"revoked", TERM, 1, .live = true, .revoked = true, .want = LEDGER_DROP},
    {"refused is shown", TERM, 1, .overlapped = true, .refused = true, .want = LEDGER_GIVE_UP},
    {"refused ends by itself", TERM, END, .overlapped = true, .refused = true, .want = LEDGER_DROP},
    {"tried often", TERM, 1, .overlapped = true, .tries = LEDGER_TRIES_MAX, .want = LEDGER_GIVE_UP},
    {"tried once less", TERM, 1, .overlapped = true, .tries = LEDGER_TRIES_MAX - 1,
     .want = LEDGER_REVOKE},
};

static void decides(void **state)
{
    const struct row *r = *state;
    const struct ledger_record rec = {
        .term = r->term, .end_wall_ms = END, .tries = r->tries, .refused = r->refused};
    const struct ledger_facts f = {.term = TERM,
                                   .live = r->live,
                                   .overlapped = r->overlapped,
                                   .revoked = r->revoked,
                                   .wall_ms = r->wall_ms};
    enum ledger_act act = ledger_decide(&rec, &f);

    assert_int_equal(act, r->want);
    assert_int_equal(ledger_releases(act), act != LEDGER_KEEP && act != LEDGER_REVOKE);
}

#define HEAD "{\"accessor\":\"a.1\",\"clusterStore\":true,\"end\":5,\"namespace\":\"shop\","
#define MID  "\"projection\":\"db\",\"refused\":false,"
#define TAIL "\"serviceAccount\":\"web\",\"store\":\"vault\","

static struct text_row {
    const char *name, *text;
    const char *bad; /* NULL: it is one, and written as it was read */
} text_rows[] = {
    {"all of it",
     HEAD MID "\"role\":\"r\"," TAIL "\"term\":7,\"tries\":2,\"uid\":\"u\",\"version\":1}", NULL},
    {"without a role", HEAD MID TAIL "\"term\":7,\"tries\":0,\"uid\":\"u\",\"version\":1}", NULL},
    {"a newer version", HEAD MID TAIL "\"term\":7,\"tries\":0,\"uid\":\"u\",\"version\":2}",
     "version"},
    {"no uid", HEAD MID TAIL "\"term\":7,\"tries\":0,\"version\":1}", "uid"},
    {"an empty uid", HEAD MID TAIL "\"term\":7,\"tries\":0,\"uid\":\"\",\"version\":1}", "uid"},
    {"a role that is no text",
     HEAD MID "\"role\":1," TAIL "\"term\":7,\"tries\":0,\"uid\":\"u\",\"version\":1}", "role"},
    {"a term before time", HEAD MID TAIL "\"term\":-1,\"tries\":0,\"uid\":\"u\",\"version\":1}",
     "term"},
    {"tries that are none", HEAD MID TAIL "\"term\":7,\"uid\":\"u\",\"version\":1}", "tries"},
    {"cut off", HEAD, "ledger"},
    {"an array", "[]", "version"},
};

static struct ledger_record rec; /* released in the teardown */

static int teardown(void **state)
{
    (void)state;
    ledger_record_done(&rec);
    return 0;
}

static void reads_and_writes(void **state)
{
    const struct text_row *r = *state;
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};
    int rc = ledger_record_parse(lh_str(r->text), &rec, &err);

    lh_buf_init(&b, 4096);
    if (r->bad) {
        assert_int_equal(rc, -LH_E_INVALID);
        assert_non_null(strstr(err.msg, r->bad));
        assert_null(rec.accessor);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(ledger_record_write(&rec, &b, &err), 0);
    assert_string_equal(lh_buf_peek(&b).p, r->text);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + LH_ARRAY_LEN(text_rows)];
    size_t n = 0;

    lh_json_init();
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, decides, NULL, NULL, &rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(text_rows); i++)
        tests[n++] =
            (struct CMUnitTest){text_rows[i].name, reads_and_writes, NULL, teardown, &text_rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
