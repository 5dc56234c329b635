/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "mountinfo.h"

#define PODS "/var/lib/kubelet/pods"
#define CSI  "/volumes/kubernetes.io~csi/"

static void parses(void **state)
{
    static const struct {
        const char *line, *point;
        unsigned long long id;
        bool is_ours, is_shared;
    } rows[] = {
        {"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw", "/mnt2", 36, false,
         false},
        {"65 63 0:40 / /p/mount rw,nosuid shared:3 - tmpfs leasehold rw,size=16k", "/p/mount", 65,
         true, true},
        {"65 63 0:40 / /p rw - tmpfs leasehold rw", "/p", 65, true, false},
        {"65 63 0:40 / /p rw propagate_from:2 unbindable shared:7 - tmpfs leasehold rw", "/p", 65,
         true, true},
        {"65 63 0:40 / /a\\040b\\011c\\012d\\134e\\043f rw - tmpfs leasehold rw", "/a b\tc\nd\\e#f",
         65, true, false},
        {"65 63 0:40 / /a\\04 rw - tmpfs leasehold rw", "/a\\04", 65, true, false},
        {"65 63 0:40 / /a\\9990\\ rw - tmpfs leasehold rw", "/a\\9990\\", 65, true, false},
        {"65 63 0:40 / /p rw - tmpfs  rw", "/p", 65, false, false}, /* no source */
        {"65 63 0:40 /sub /p rw - tmpfs leasehold rw", "/p", 65, false, false},
        {"65 63 0:40 / /p rw - tmpfs leasehold2 rw", "/p", 65, false, false},
        {"65 63 0:40 / /p rw - tmpfs tmpfs rw", "/p", 65, false, false},
        {"65 63 0:40 / /p rw - ext4 leasehold rw", "/p", 65, false, false},
        {"65 63 0:40 / /p rw - fuse.tmpfs leasehold rw", "/p", 65, false, false},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_entry e;
        char *line = strdup(rows[i].line);

        assert_non_null(line);
        assert_true(lh_mount_entry_parse(line, strlen(line), &e));
        assert_true(lh_str_eqz(e.point, rows[i].point));
        assert_int_equal(e.id, rows[i].id);
        assert_int_equal(e.is_ours, rows[i].is_ours);
        assert_int_equal(e.is_shared, rows[i].is_shared);
        free(line);
    }
}

static void refuses(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "36 35 98:0 /mnt1 /mnt2 rw",
        "36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root", /* no options */
        "36 35 98:0 /mnt1 /mnt2 rw shared:1 ext3 /dev/root rw",
        "x 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw",
        "-1 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw",
        "99999999999999999999 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw",
        "36 35 98:0 /mnt1  rw - ext3 /dev/root rw", /* no mount point */
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_entry e = {.id = 7};
        char *line = strdup(rows[i]);

        assert_non_null(line);
        if (lh_mount_entry_parse(line, strlen(line), &e))
            fail_msg("taken: %s", rows[i]);
        assert_int_equal(e.id, 7);
        free(line);
    }
}

static void volumes(void **state)
{
    static const struct {
        const char *point, *uid, *volume; /* NULL: none of ours */
    } rows[] = {
        {PODS "/u-1" CSI "db/mount", "u-1", "db"},
        {PODS "/u-1" CSI "db", NULL, NULL},
        {PODS "/u-1" CSI "db/mount/", NULL, NULL},
        {PODS "/u-1" CSI "db/mount2", NULL, NULL},
        {PODS "/u-1" CSI "db/x/mount", NULL, NULL},
        {PODS "/u-1" CSI "/mount", NULL, NULL},
        {PODS "/" CSI "db/mount", NULL, NULL},
        {PODS CSI "db/mount", NULL, NULL},
        {PODS "x/u-1" CSI "db/mount", NULL, NULL},
        {PODS "/u-1/volumes/kubernetes.io~nfs/db/mount", NULL, NULL},
        {PODS "/u-1/volume-subpaths/db/app/0", NULL, NULL},
        {"/var/lib/kubelet/plugins/csi.leasehold.dev/state", NULL, NULL},
        {PODS, NULL, NULL},
        {"/", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_entry e = {.point = lh_str(rows[i].point), .is_ours = true};
        char uid[LH_MOUNT_POD_UID] = "unset", volume[LH_MOUNT_VOLUME] = "unset";
        bool got = lh_mount_entry_volume(&e, LH_STR(PODS), uid, volume);

        if (got != (rows[i].uid != NULL))
            fail_msg("%s", rows[i].point);
        assert_string_equal(uid, got ? rows[i].uid : "unset");
        assert_string_equal(volume, got ? rows[i].volume : "unset");
        e.is_ours = false;
        assert_false(lh_mount_entry_volume(&e, LH_STR(PODS), uid, volume));
    }
}

static void long_names(void **state)
{
    char point[600], uid[LH_MOUNT_POD_UID] = "unset", volume[LH_MOUNT_VOLUME] = "unset";
    struct lh_mount_entry e = {.is_ours = true};

    (void)state;
    snprintf(point, sizeof(point), PODS "/%064d" CSI "db/mount", 0);
    e.point = lh_str(point);
    assert_false(lh_mount_entry_volume(&e, LH_STR(PODS), uid, volume));
    snprintf(point, sizeof(point), PODS "/%063d" CSI "%0256d/mount", 0, 0);
    e.point = lh_str(point);
    assert_false(lh_mount_entry_volume(&e, LH_STR(PODS), uid, volume));
    assert_string_equal(uid, "unset");
    snprintf(point, sizeof(point), PODS "/%063d" CSI "%0255d/mount", 0, 0);
    e.point = lh_str(point);
    assert_true(lh_mount_entry_volume(&e, LH_STR(PODS), uid, volume));
    assert_int_equal(strlen(uid), 63);
    assert_int_equal(strlen(volume), 255);
}

/* A table that is larger than the buffer, with a line that is as well, read twice. */
static void reads_a_table(void **state)
{
    static struct lh_mount_table t;
    FILE *f = tmpfile();

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fprintf(f, "%d 1 0:1 / /m%d rw shared:1 - tmpfs leasehold rw\n", i, i);
    fprintf(f, "1000 1 0:1 / /huge rw - overlay overlay %0*d\n", LH_MOUNT_LINE_BYTES * 3, 0);
    fprintf(f, "not a line\n1001 1 0:1 / /last rw - tmpfs leasehold rw\n");
    fprintf(f, "1002 1 0:1 / /cut rw - tmpfs leasehold rw");
    fflush(f);
    for (int again = 0; again < 2; again++) {
        struct lh_mount_entry e = {0};
        unsigned count = 0;

        assert_int_equal(lh_mount_table_rewind(&t, fileno(f)), 0);
        while (lh_mount_table_next(&t, &e) == 1) {
            assert_int_equal(e.id, count < 1000 ? count : 1001);
            count++;
        }
        assert_int_equal(count, 1001);
        assert_true(lh_str_eqz(e.point, "/last"));
    }
    fclose(f);
}

static void reads_nothing(void **state)
{
    static struct lh_mount_table t;
    struct lh_mount_entry e;

    (void)state;
    assert_true(lh_mount_table_rewind(&t, -1) < 0);
    assert_true(lh_mount_table_next(&t, &e) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),        cmocka_unit_test(refuses),
        cmocka_unit_test(volumes),       cmocka_unit_test(long_names),
        cmocka_unit_test(reads_a_table), cmocka_unit_test(reads_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
