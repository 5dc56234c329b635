/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "request.h"

#define UID "0f3d1c9a-1111-2222-3333-444455556666"

static const struct lh_mount_request good = {.version = LH_MOUNT_VERSION,
                                             .verb = LH_MOUNT_MOUNT,
                                             .bytes = 1,
                                             .inodes = 1,
                                             .gid = LH_MOUNT_NO_GID,
                                             .pod_uid = UID,
                                             .volume = "db"};

/* The packet in memory of its exact size: the sanitizer sees a read past it. */
static int check(const struct lh_mount_request *r, size_t n)
{
    struct lh_mount_request out, untouched;
    const char *why = NULL;
    char *packet = malloc(n ? n : 1);
    int os;

    assert_non_null(packet);
    memset(packet, 0, n ? n : 1);
    memcpy(packet, r, n < sizeof(*r) ? n : sizeof(*r));
    memset(&out, 0x5a, sizeof(out));
    memcpy(&untouched, &out, sizeof(out));
    os = lh_mount_request_check(packet, n, &out, &why);
    free(packet);
    assert_memory_equal(&out, os ? &untouched : r, sizeof(out));
    assert_int_equal(why != NULL, os != 0);
    return os;
}

static void sizes(void **state)
{
    (void)state;
    assert_int_equal(check(&good, sizeof(good)), 0);
    assert_int_equal(check(&good, 0), EPROTO);
    assert_int_equal(check(&good, sizeof(good) - 1), EPROTO);
    assert_int_equal(check(&good, sizeof(good) + 1), EPROTO);
}

static void numbers(void **state)
{
    static const struct {
        const char *name;
        uint32_t version, verb;
        uint64_t bytes, inodes;
        int64_t gid;
        int want;
    } rows[] = {
        {"all at the least", 1, LH_MOUNT_MOUNT, 1, 1, -1, 0},
        {"all at the most", 1, LH_MOUNT_MOUNT, LH_MOUNT_BYTES_MAX, LH_MOUNT_INODES_MAX, 4294967294,
         0},
        {"group of root", 1, LH_MOUNT_MOUNT, 1, 1, 0, 0},
        {"no version", 0, LH_MOUNT_MOUNT, 1, 1, -1, EPROTO},
        {"a newer version", 2, LH_MOUNT_MOUNT, 1, 1, -1, EPROTO},
        {"no verb", 1, 0, 1, 1, -1, EPROTO},
        {"a verb past the last", 1, LH_MOUNT_STATE + 1, 1, 1, -1, EPROTO},
        {"a verb that is negative as a signed number", 1, UINT32_MAX, 1, 1, -1, EPROTO},
        {"no bytes", 1, LH_MOUNT_MOUNT, 0, 1, -1, EINVAL},
        {"too many bytes", 1, LH_MOUNT_MOUNT, LH_MOUNT_BYTES_MAX + 1, 1, -1, EINVAL},
        {"all bytes", 1, LH_MOUNT_MOUNT, UINT64_MAX, 1, -1, EINVAL},
        {"no inodes", 1, LH_MOUNT_MOUNT, 1, 0, -1, EINVAL},
        {"too many inodes", 1, LH_MOUNT_MOUNT, 1, LH_MOUNT_INODES_MAX + 1, -1, EINVAL},
        {"a negative group", 1, LH_MOUNT_MOUNT, 1, 1, -2, EINVAL},
        {"the group that means none", 1, LH_MOUNT_MOUNT, 1, 1, 4294967295, EINVAL},
        {"a group that wraps to root's", 1, LH_MOUNT_MOUNT, 1, 1, 4294967296, EINVAL},
        {"limits do not matter elsewhere", 1, LH_MOUNT_UNMOUNT, 0, 0, -2, 0},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_request r = good;

        r.version = rows[i].version;
        r.verb = rows[i].verb;
        r.bytes = rows[i].bytes;
        r.inodes = rows[i].inodes;
        r.gid = rows[i].gid;
        if (check(&r, sizeof(r)) != rows[i].want)
            fail_msg("%s", rows[i].name);
    }
}

static void names(void **state)
{
    static const struct {
        const char *name;
        uint32_t verb;
        const char *uid, *volume, *context;
        int want;
    } rows[] = {
        {"a static Pod's hash", LH_MOUNT_OPEN, "0123456789abcdef0123456789abcdef", "db", "", 0},
        {"a name with dots", LH_MOUNT_UNMOUNT, UID, "a.b-c..d", "", 0},
        {"a context", LH_MOUNT_MOUNT, UID, "db",
         "system_u:object_r:container_file_t:s0:c12,c34-s0:c0.c1023", 0},
        {"nothing where nothing is needed", LH_MOUNT_LIST, "", "", "", 0},
        {"nothing where nothing is needed", LH_MOUNT_LISTENERS, "", "", "", 0},
        {"nothing where nothing is needed", LH_MOUNT_STATE, "", "", "", 0},
        {"empty uid", LH_MOUNT_MOUNT, "", "db", "", EINVAL},
        {"empty volume", LH_MOUNT_UNMOUNT, UID, "", "", EINVAL},
        {"uid ..", LH_MOUNT_MOUNT, "..", "db", "", EINVAL},
        {"uid .", LH_MOUNT_MOUNT, ".", "db", "", EINVAL},
        {"volume ..", LH_MOUNT_UNMOUNT, UID, "..", "", EINVAL},
        {"volume .", LH_MOUNT_OPEN, UID, ".", "", EINVAL},
        {"hidden volume", LH_MOUNT_OPEN, UID, ".x", "", EINVAL},
        {"uid with /", LH_MOUNT_MOUNT, "a/b", "db", "", EINVAL},
        {"volume with /", LH_MOUNT_MOUNT, UID, "db/../../x", "", EINVAL},
        {"absolute volume", LH_MOUNT_MOUNT, UID, "/etc", "", EINVAL},
        {"a space", LH_MOUNT_MOUNT, UID, "a b", "", EINVAL},
        {"a control character", LH_MOUNT_MOUNT, UID, "a\nb", "", EINVAL},
        {"not ASCII", LH_MOUNT_MOUNT, UID, "d\xc3\xa9", "", EINVAL},
        {"a context with another option", LH_MOUNT_MOUNT, UID, "db", "x,size=1=2", EINVAL},
        {"a context with a quote", LH_MOUNT_MOUNT, UID, "db", "\"x\"", EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_request r = good;

        r.verb = rows[i].verb;
        memset(r.pod_uid, 0, sizeof(r.pod_uid));
        memset(r.volume, 0, sizeof(r.volume));
        strcpy(r.pod_uid, rows[i].uid);
        strcpy(r.volume, rows[i].volume);
        strcpy(r.context, rows[i].context);
        if (check(&r, sizeof(r)) != rows[i].want)
            fail_msg("%s", rows[i].name);
    }
}

static void texts_end(void **state)
{
    struct lh_mount_request r = good;

    (void)state;
    memset(r.pod_uid, 'a', sizeof(r.pod_uid));
    assert_int_equal(check(&r, sizeof(r)), EPROTO);
    r = good;
    memset(r.volume, 'a', sizeof(r.volume));
    assert_int_equal(check(&r, sizeof(r)), EPROTO);
    r = good;
    memset(r.context, 'a', sizeof(r.context));
    assert_int_equal(check(&r, sizeof(r)), EPROTO);
    r = good;
    memset(r.volume, 'a', sizeof(r.volume) - 1); /* as long as it can be */
    assert_int_equal(check(&r, sizeof(r)), 0);
    r = good;
    r.pod_uid[sizeof(r.pod_uid) - 1] = 'x'; /* behind the end */
    assert_int_equal(check(&r, sizeof(r)), EPROTO);
    r = good;
    r.verb = LH_MOUNT_LIST;
    r.context[2] = 'x'; /* also where it does not matter */
    assert_int_equal(check(&r, sizeof(r)), EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(names),
        cmocka_unit_test(texts_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
