/* SPDX-License-Identifier: Apache-2.0 */
/* A file that a real etcd wrote (data/make), whole and with faults planted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/etcd/source.h"
#include "support.h"

enum { PAGE = 4096, PAGES = 11, MAX_FILE = 1 << 20, LIVE = 17, META0_CHECKSUM = 16 + 56 };

static struct {
    struct lh_test_scratch scratch;
    struct lh_loop *loop;
    struct lh_etcd *etcd;
    char *bytes;
    size_t n;
    char path[300];
} t;

struct seen {
    char keys[64][64];
    size_t n;
    struct lh_etcd_entry last; /* key and value not kept */
    char value[64];            /* start of the last one */
    size_t value_given;
    struct lh_etcd_scan *scan;
    size_t cancel_at;
    bool done;
    struct lh_etcd_scanned result;
    struct lh_err err;
};

struct told {
    bool done;
    struct lh_err err;
    const struct lh_etcd_about *about;
};

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    if (lh_crypto_init(NULL) < 0 || lh_test_scratch_new(&t.scratch) < 0 ||
        lh_loop_new(&t.loop, NULL) < 0)
        return -1;
    snprintf(t.path, sizeof(t.path), "%s/db", t.scratch.path);
    return lh_fs_read_at(AT_FDCWD, "data/registry.db", MAX_FILE, &t.bytes, &t.n, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_etcd_free(t.etcd);
    lh_loop_free(t.loop);
    lh_test_scratch_done(&t.scratch);
    lh_free(t.bytes);
    return 0;
}

static int open_bytes(struct lh_err *err)
{
    assert_int_equal(lh_fs_replace_at(t.scratch.fd, "db", 0600, t.bytes, t.n, NULL), 0);
    return lh_etcd_open_file(t.loop, t.path, &t.etcd, err);
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    struct seen *s = arg;
    size_t n = e->value.n < sizeof(s->value) - 1 ? e->value.n : sizeof(s->value) - 1;

    if (s->n < 64)
        snprintf(s->keys[s->n++], sizeof(s->keys[0]), "%.*s", (int)e->key.n, e->key.p);
    s->last = *e;
    memcpy(s->value, e->value.p, n);
    s->value[n] = '\0';
    s->value_given = e->value.n;
    if (s->n == s->cancel_at)
        lh_etcd_scan_cancel(s->scan);
}

static void on_scanned(void *arg, const struct lh_etcd_scanned *result, const struct lh_err *err)
{
    struct seen *s = arg;

    s->done = true;
    if (result)
        s->result = *result;
    if (err)
        s->err = *err;
}

static void on_told(void *arg, const struct lh_etcd_about *about, const struct lh_err *err)
{
    struct told *o = arg;

    o->done = true;
    o->about = about;
    if (err)
        o->err = *err;
}

static void scan(const char *prefix, size_t max_value, struct seen *s)
{
    struct lh_etcd_scan_options opts = {
        .prefix = prefix, .max_value = max_value, .entry = on_entry};

    assert_int_equal(lh_etcd_scan_start(t.etcd, &opts, on_scanned, s, &s->scan, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &s->done));
    assert_int_equal(s->err.code, 0);
}

static void tell(struct told *o)
{
    struct lh_etcd_about_op *op;

    assert_int_equal(lh_etcd_about_start(t.etcd, on_told, o, &op, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &o->done));
    assert_int_equal(o->err.code, 0);
}

static bool has(const struct seen *s, const char *key)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->keys[i], key) == 0)
            return true;
    }
    return false;
}

static void newest_of_each_key_once(void **state)
{
    struct seen s = {0};

    (void)state;
    assert_int_equal(open_bytes(NULL), 0);
    scan("/registry/", 0, &s);
    assert_int_equal(s.n, LIVE);
    assert_int_equal(s.result.entries, LIVE);
    assert_int_equal(s.result.revision, 51);
    assert_int_equal(s.result.bad_pages + s.result.bad_entries, 0);
    assert_string_equal(s.result.first_fault, "");
    for (int i = 5; i < 20; i++) {
        char key[64];

        snprintf(key, sizeof(key), "/registry/secrets/default/s%02d", i);
        assert_true(has(&s, key));
    }
    assert_false(has(&s, "/registry/secrets/default/s04"));
    assert_false(has(&s, "/elsewhere"));
}

static void fields_of_an_entry(void **state)
{
    struct seen twice = {0}, again = {0}, leased = {0}, big = {0}, whole = {0};

    (void)state;
    assert_int_equal(open_bytes(NULL), 0);
    scan("/registry/secrets/default/s19", 0, &twice);
    assert_memory_equal(twice.value, "k8s\0new value of s19", 20);
    assert_int_equal(twice.last.version, 2);
    assert_int_equal(twice.last.create_revision, 21);
    assert_int_equal(twice.last.mod_revision, 41);
    scan("/registry/secrets/default/s05", 0, &again);
    assert_memory_equal(again.value, "k8s\0written again", 17);
    assert_int_equal(again.last.version, 1);
    scan("/registry/leased", 0, &leased);
    assert_int_equal(leased.last.lease, 77);
    scan("/registry/configmaps/", 0, &big);
    assert_int_equal(big.last.value_size, 9000);
    assert_int_equal(big.value_given, LH_ETCD_VALUE_HEAD);
    scan("/registry/configmaps/", SIZE_MAX, &whole);
    assert_int_equal(whole.value_given, 9000);
    assert_int_equal(whole.result.value_bytes, 9000);
}

static void tells_what_it_is(void **state)
{
    struct told o = {0};

    (void)state;
    assert_int_equal(open_bytes(NULL), 0);
    tell(&o);
    assert_false(o.about->live);
    assert_int_equal(o.about->revision, 51);
    assert_string_equal(o.about->version, "3.6.0");
    assert_true(o.about->hash_present && o.about->hash_matches);
    assert_int_equal(o.about->page_size, PAGE);
    assert_true(o.about->applied_index > 50 && o.about->raft_term == 2);
    assert_int_equal(o.about->n_members, 1);
    assert_string_equal(o.about->members[0].name, "default");
    assert_string_equal(o.about->members[0].peer_urls, "http://127.0.0.1:23800");
    assert_string_equal(o.about->members[0].client_urls, "http://127.0.0.1:23790");
}

static void a_bare_database_has_no_hash(void **state)
{
    struct told o = {0};
    struct seen s = {0};

    (void)state;
    t.n -= LH_HASH_LEN;
    assert_int_equal(open_bytes(NULL), 0);
    tell(&o);
    assert_false(o.about->hash_present);
    scan("/registry/", 0, &s);
    assert_int_equal(s.n, LIVE);
}

static void a_changed_byte_breaks_the_hash(void **state)
{
    struct told o = {0};

    (void)state;
    t.bytes[7 * PAGE + 200] ^= 1; /* inside the large value */
    assert_int_equal(open_bytes(NULL), 0);
    tell(&o);
    assert_true(o.about->hash_present);
    assert_false(o.about->hash_matches);
}

static void the_older_meta_page_serves(void **state)
{
    struct seen s = {0};
    struct told o = {0};

    (void)state;
    t.bytes[META0_CHECKSUM] ^= 1;
    assert_int_equal(open_bytes(NULL), 0);
    tell(&o);
    scan("/registry/", 0, &s);
    assert_true(s.n >= LIVE - 1); /* the state of a commit before */
    assert_true(o.about->revision <= 51);
}

static struct foreign {
    const char *name, *text;
    size_t n;
} foreigns[] = {
    {"an empty file is foreign", "", 0},
    {"a text is foreign", "apiVersion: v1\n", 15},
    {"a cut first page is foreign", NULL, 60},
};

static void refuses_foreign(void **state)
{
    const struct foreign *f = *state;
    struct lh_err err = {0};

    t.n = f->n;
    if (f->text)
        memcpy(t.bytes, f->text, f->n);
    assert_int_equal(open_bytes(&err), -LH_E_INVALID);
    assert_null(t.etcd);
    assert_non_null(strstr(err.msg, "/db: no database of etcd"));
}

/* What stands where in the fixture: page 10 is the root bucket, 9 the branch of "key" with leaves
 * 3 (oldest), 5 and 6 (newest); 6 overflows into 7 and 8. */
static struct fault {
    const char *name;
    size_t at;
    const char *bytes;
    size_t n;
    size_t cut; /* pages left; 0: all */
    const char *text;
} faults[] = {
    {"a wrong number of a page", 3 * PAGE, "\x07", 1, 0, "page 3: it has another number"},
    {"flags of no kind", 3 * PAGE + 8, "\x08", 1, 0, "page 3: it is neither branch nor leaf"},
    {"a free list in the tree", 3 * PAGE + 8, "\x10", 1, 0,
     "page 3: it is neither branch nor leaf"},
    {"both flags at once", 3 * PAGE + 8, "\x03", 1, 0, "page 3: it is neither branch nor leaf"},
    {"a count past the page", 3 * PAGE + 10, "\xff\xff", 2, 0,
     "page 3: it counts more elements than fit"},
    {"an overflow past the end", 6 * PAGE + 12, "\xff\xff\xff\xff", 4, 0,
     "page 6: it goes on past the end"},
    {"an element past the page", 5 * PAGE + 16 + 4, "\xff\xff\xff\x7f", 4, 0,
     "page 5: element 0 reaches past its end"},
    {"a length that wraps", 5 * PAGE + 16 + 12, "\xff\xff\xff\xff", 4, 0,
     "page 5: element 0 reaches past its end"},
    {"a branch to itself", 9 * PAGE + 16 + 8, "\x09", 1, 0, "page 9: it is used twice"},
    {"a branch to its sister", 9 * PAGE + 16 + 8, "\x05", 1, 0, "page 5: it is used twice"},
    {"a branch out of the file", 9 * PAGE + 16 + 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0,
     "page 18446744073709551615: it is not in the file"},
    {"a branch to a meta page", 9 * PAGE + 16 + 8, "\x01", 1, 0, "page 1: it is not in the file"},
    {"a root that is no root", 10 * PAGE + 8, "\x00", 1, 0,
     "page 10: it is neither branch nor leaf"},
    {"a cut file", 0, "", 0, 9, "page 10: it is not in the file"},
};

static void counts(void **state)
{
    const struct fault *f = *state;
    struct seen s = {0};
    struct told o = {0};

    memcpy(t.bytes + f->at, f->bytes, f->n);
    if (f->cut)
        t.n = f->cut * PAGE;
    assert_int_equal(open_bytes(NULL), 0);
    tell(&o); /* never fails for the content */
    scan("/registry/", 0, &s);
    assert_true(s.result.bad_pages + s.result.bad_entries > 0);
    assert_string_equal(s.result.first_fault, f->text);
    assert_true(s.n < 40);
}

static void survives_every_cut(void **state)
{
    (void)state;
    for (size_t cut = t.n; cut > 0; cut = cut > 997 ? cut - 997 : 0) {
        struct seen s = {0};

        t.n = cut;
        if (open_bytes(NULL) == 0)
            scan("", 0, &s);
        lh_etcd_free(t.etcd);
        t.etcd = NULL;
    }
}

static void cancels_from_inside(void **state)
{
    struct lh_etcd_scan_options opts = {.prefix = "/registry/", .entry = on_entry};
    struct seen s = {.cancel_at = 3}, after = {0};

    (void)state;
    assert_int_equal(open_bytes(NULL), 0);
    assert_int_equal(lh_etcd_scan_start(t.etcd, &opts, on_scanned, &s, &s.scan, NULL), 0);
    scan("/registry/", 0, &after); /* turns the loop long enough for both */
    assert_int_equal(s.n, 3);
    assert_false(s.done);
    assert_int_equal(after.n, LIVE);
}

int main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test_setup_teardown(newest_of_each_key_once, setup, teardown),
        cmocka_unit_test_setup_teardown(fields_of_an_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_what_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bare_database_has_no_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_byte_breaks_the_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(the_older_meta_page_serves, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_every_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(cancels_from_inside, setup, teardown),
    };
    size_t n = 8;

    for (size_t i = 0; i < LH_ARRAY_LEN(foreigns); i++)
        tests[n++] =
            (struct CMUnitTest){foreigns[i].name, refuses_foreign, setup, teardown, &foreigns[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(faults); i++)
        tests[n++] = (struct CMUnitTest){faults[i].name, counts, setup, teardown, &faults[i]};
    return _cmocka_run_group_tests("etcd_file", tests, n, NULL, NULL);
}
