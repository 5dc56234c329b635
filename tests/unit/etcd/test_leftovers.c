/* SPDX-License-Identifier: Apache-2.0 */
/* What a database (data/make) and files with planted values still hold. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leftovers_priv.h"
#include "rows.h"
#include "support.h"

#define KEY   "\n\x19/registry/secrets/shop/s1"
#define PLAIN "k8s\0\n\x0c\n\x02v1\x12\x06Secret"

enum { PAGE = 4096, MAX_FILE = 1 << 20, CURRENT = 15, OLDER = 25, WINDOW = 1 << 20 };

static struct row {
    const char *name;
    const char *bytes;
    size_t n;
    uint64_t plain, all;
} rows[] = {
    {"a PutRequest", KEY "\x12\x13" PLAIN, 27 + 2 + 18, 1, 1},
    {"a KeyValue", KEY "\x10\x02\x18\xac\x02\x20\x01\x2a\x05k8s\0x", 27 + 7 + 2 + 5, 1, 1},
    {"a key of two bytes' length", "\n\x99\x00/registry/secrets/shop/s1\x12\x05k8s\0x", 28 + 7, 1,
     1},
    {"another kind", "\n\x16/registry/pods/shop/s1\x12\x05k8s\0x", 24 + 7, 0, 0},
    {"another kind's head is not a Secret's", "k8s\0\n\x0c\n\x02v1\x12\x06Policy", 18, 0, 0},
    {"a head without its key", PLAIN, 18, 1, 1},
    {"JSON without its key", "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"", 34, 1, 1},
    {"a value counts once with its key", KEY "\x12\x12" PLAIN PLAIN, 27 + 2 + 36, 2, 2},
    {"a key in a comparison", "\x1a\x19/registry/secrets/shop/s1\x30\x03", 29, 0, 0},
    {"a key that a range ends", KEY "\x12\x19/registry/secrets/shop/s2", 54, 0, 1},
    {"a key alone", KEY, 27, 0, 0},
    {"a length that is cut", KEY "\x12\xff", 29, 0, 0},
    {"a length past belief", KEY "\x12\xff\xff\xff\xff\x7f" PLAIN, 27 + 6 + 18, 1, 1},
    {"a value that goes on past the end", KEY "\x12\x7f" PLAIN, 27 + 2 + 18, 1, 1},
    {"sealed", KEY "\x12\x60k8s:enc:secretbox:v1:old:xxxxxxxx", 27 + 2 + 33, 0, 1},
    {"sealed without its key", "k8s:enc:aescbc:v1:old:xxxxxxxxxxxxx", 35, 0, 1},
    {"of no provider that is known", "k8s:enc:rot13:v1:old:xxxxxxxxxxxxx", 34, 0, 0},
    {"nothing", "", 0, 0, 0},
};

static int file_of(const char *bytes, size_t n, size_t at)
{
    int fd = memfd_create("leftovers", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(at + n)), 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
    return fd;
}

static void search(int fd, enum lh_leftover_place place, struct lh_leftovers *l)
{
    struct lh_leftover_keys keys = {0};

    assert_int_equal(lh_leftover_keys_init(&keys, "/registry/", NULL), 0);
    lh_leftovers_init(l);
    assert_int_equal(lh_leftovers_fd(l, fd, "file", &keys, place, NULL), 0);
    lh_leftover_keys_done(&keys);
    close(fd);
}

static uint64_t total(const struct lh_leftovers *l)
{
    uint64_t n = 0;

    for (size_t i = 0; i < l->groups.n; i++)
        n += ((struct lh_leftover *)lh_vec_at(&l->groups, i))->count;
    return n;
}

/* Alone, and across every border between two windows that matters to it. */
static void finds(void **state)
{
    static const size_t at[] = {0,
                                1,
                                7,
                                WINDOW - 4096 - 20,
                                WINDOW - 4096,
                                WINDOW - 4099,
                                WINDOW - 10,
                                WINDOW,
                                3 * WINDOW + 5};
    const struct row *r = *state;

    for (size_t i = 0; i < LH_ARRAY_LEN(at); i++) {
        struct lh_leftovers l;

        search(file_of(r->bytes, r->n, at[i]), LH_LEFTOVER_LOG, &l);
        assert_int_equal(l.plain[LH_LEFTOVER_LOG], r->plain);
        assert_int_equal(total(&l), r->all);
        lh_leftovers_done(&l);
    }
}

static void names_the_key_of_kms_v2(void **state)
{
    /* encryptedData of 100 bytes, keyID, encryptedDEKSource, type. */
    static const char tail[] = "\x12\x05key-1\x1a\x04wrap\x28\x01";
    char value[400];
    int head = snprintf(value, sizeof(value), "%s\x12%c\x01k8s:enc:kms:v2:lease:\n%c", KEY,
                        (char)(0x80 | (138 & 0x7f)), 100);
    struct lh_leftovers l;
    struct lh_leftover *g;

    (void)state;
    memset(value + head, 'c', 100);
    memcpy(value + head + 100, tail, sizeof(tail) - 1);
    search(file_of(value, (size_t)head + 100 + sizeof(tail) - 1, 64), LH_LEFTOVER_ELSEWHERE, &l);
    assert_int_equal(l.groups.n, 1);
    g = lh_vec_at(&l.groups, 0);
    assert_int_equal(g->scheme, LH_ATREST_KMS_V2);
    assert_string_equal(g->name, "lease");
    assert_string_equal(g->key_id, "key-1");
    lh_leftovers_done(&l);
}

static void many_keys_fall_together(void **state)
{
    struct lh_leftovers l;
    char bytes[400 * 64];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 400; i++)
        n +=
            (size_t)snprintf(bytes + n, sizeof(bytes) - n, "k8s:enc:aesgcm:v1:key%03d:%020d", i, 0);
    search(file_of(bytes, n, 0), LH_LEFTOVER_LOG, &l);
    assert_int_equal(total(&l), 400);
    assert_true(l.groups.n <= LH_LEFTOVER_MAX_GROUPS);
    lh_leftovers_done(&l);
}

static char *database(size_t *n)
{
    char *bytes = NULL;

    assert_int_equal(lh_fs_read_at(AT_FDCWD, "data/registry.db", MAX_FILE, &bytes, n, NULL), 0);
    return bytes;
}

static void tells_revisions_from_free_pages(void **state)
{
    size_t n;
    lh_auto_free char *bytes = database(&n);
    struct lh_leftovers l;

    (void)state;
    search(file_of(bytes, n, 0), LH_LEFTOVER_FREE, &l);
    assert_true(l.has_database && !l.has_log && !l.changed);
    assert_int_equal(l.damaged + l.unread, 0);
    assert_int_equal(l.plain[LH_LEFTOVER_CURRENT], CURRENT);
    assert_int_equal(l.plain[LH_LEFTOVER_OLDER], OLDER + 1); /* s05 was written three times */
    assert_int_equal(l.plain[LH_LEFTOVER_LOG] + l.plain[LH_LEFTOVER_ELSEWHERE], 0);
    lh_leftovers_done(&l);
}

/* Page 3, the oldest leaf, is no page any more: what stands in it is free, and counted as damage.
 */
static void what_damage_cuts_off_is_still_found(void **state)
{
    size_t n;
    lh_auto_free char *bytes = database(&n);
    struct lh_leftovers whole, cut;

    (void)state;
    search(file_of(bytes, n, 0), LH_LEFTOVER_FREE, &whole);
    bytes[3 * PAGE + 8] = 0x10;
    search(file_of(bytes, n, 0), LH_LEFTOVER_FREE, &cut);
    assert_true(cut.damaged > 0 && strstr(cut.first_fault, "page 3"));
    assert_true(cut.plain[LH_LEFTOVER_FREE] > whole.plain[LH_LEFTOVER_FREE]);
    assert_true(total(&cut) >= total(&whole));
    lh_leftovers_done(&whole);
    lh_leftovers_done(&cut);
}

static void no_database_is_searched_all_the_same(void **state)
{
    size_t n;
    lh_auto_free char *bytes = database(&n);
    struct lh_leftovers l;

    (void)state;
    memset(bytes, 0, (size_t)2 * PAGE);
    search(file_of(bytes, n, 0), LH_LEFTOVER_FREE, &l);
    assert_true(!l.has_database && l.damaged == 1);
    assert_true(l.plain[LH_LEFTOVER_ELSEWHERE] >= CURRENT + OLDER);
    lh_leftovers_done(&l);
}

static void folders(void **state)
{
    struct lh_test_scratch scratch;
    struct lh_leftovers l;
    struct lh_err err;
    char path[400];
    size_t n;
    lh_auto_free char *bytes = database(&n);

    (void)state;
    assert_int_equal(lh_test_scratch_new(&scratch), 0);
    assert_int_equal(lh_leftovers_dir(scratch.path, "/registry", &l, &err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "no data folder of etcd"));
    assert_int_equal(mkdirat(scratch.fd, "member", 0700), 0);
    assert_int_equal(lh_fs_replace_at(scratch.fd, "member/1.wal", 0600,
                                      "\x04\0\0\0\0\0\0\x84\x08\x04\x10\0\0\0\0\0" KEY
                                      "\x12\x05k8s\0x",
                                      16 + 27 + 7, NULL),
                     0);
    assert_int_equal(lh_fs_replace_at(scratch.fd, "member/2.wal", 0600, "no log", 6, NULL), 0);
    assert_int_equal(lh_fs_replace_at(scratch.fd, "member/db", 0600, bytes, n, NULL), 0);
    assert_int_equal(lh_leftovers_dir(scratch.path, "/registry", &l, &err), 0);
    assert_true(l.has_database && l.has_log);
    assert_int_equal(l.files, 3);
    assert_int_equal(l.damaged, 1);
    assert_non_null(strstr(l.first_fault, "2.wal does not begin as a log"));
    assert_int_equal(l.plain[LH_LEFTOVER_LOG], 1);
    assert_int_equal(l.plain[LH_LEFTOVER_CURRENT], CURRENT);
    lh_leftovers_done(&l);
    snprintf(path, sizeof(path), "%s/nothing", scratch.path);
    assert_int_equal(lh_leftovers_file(path, "/registry", &l, &err), -LH_E_OS);
    assert_non_null(strstr(err.msg, "/nothing"));
    assert_int_equal(lh_leftovers_file(scratch.path, "/registry", &l, &err), -LH_E_INVALID);
    lh_test_scratch_done(&scratch);
}

int main(void)
{
    if (lh_crypto_init(NULL) < 0)
        return 1;
    ROWS(finds, rows);
    ONE(names_the_key_of_kms_v2);
    ONE(many_keys_fall_together);
    ONE(tells_revisions_from_free_pages);
    ONE(what_damage_cuts_off_is_still_found);
    ONE(no_database_is_searched_all_the_same);
    ONE(folders);
    return rows_run("leftovers");
}
