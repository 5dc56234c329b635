/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "request.h"

#define KEY(name)  CSI_RESERVED_PREFIX name
#define TARGET_DIR "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/"

/* ---- target paths ---- */

static struct target_row {
    const char *name, *path, *uid, *volume; /* uid NULL: refused */
} target_rows[] = {
    {"as kubelet has it", TARGET_DIR "db/mount", "uid-1", "db"},
    {"below another root", "/k/pods/u/volumes/kubernetes.io~csi/v/mount", "u", "v"},
    {"relative", "pods/u/volumes/kubernetes.io~csi/v/mount", NULL, NULL},
    {"empty", "", NULL, NULL},
    {"root", "/", NULL, NULL},
    {"no mount at its end", TARGET_DIR "db", NULL, NULL},
    {"more behind it", TARGET_DIR "db/mount/x", NULL, NULL},
    {"a slash behind it", TARGET_DIR "db/mount/", NULL, NULL},
    {"volume is ..", TARGET_DIR "../mount", NULL, NULL},
    {"volume is .", TARGET_DIR "./mount", NULL, NULL},
    {"no volume", TARGET_DIR "/mount", NULL, NULL},
    {"Pod is ..", "/k/pods/../volumes/kubernetes.io~csi/v/mount", NULL, NULL},
    {"another plugin's", "/k/pods/u/volumes/kubernetes.io~nfs/v/mount", NULL, NULL},
    {"not below pods", "/k/plugins/u/volumes/kubernetes.io~csi/v/mount", NULL, NULL},
    {"uid longer than any",
     "/k/pods/0123456789012345678901234567890123456789012345678901234567890123456789/volumes/"
     "kubernetes.io~csi/v/mount",
     NULL, NULL},
};

static void target(void **state)
{
    const struct target_row *r = *state;
    struct node_target t = {.volume = "untouched"};
    struct lh_err err = {0};
    int rc = node_target_parse(r->path, &t, &err);

    if (r->uid) {
        assert_int_equal(rc, 0);
        assert_string_equal(t.pod_uid, r->uid);
        assert_string_equal(t.volume, r->volume);
        return;
    }
    assert_int_equal(rc, -LH_E_INVALID);
    assert_string_equal(err.reason, LH_REASON_VolumeInvalid);
    assert_string_equal(t.volume, "untouched");
}

/* ---- requests: a good one, and what is changed in it ---- */

static struct request_row {
    const char *name;
    const char *key,
        *value; /* put in the place of that attribute, or added; value NULL: left out */
    const char *id, *path, *fs_type, *group, *flag;
    bool writable, block, bare, two_tokens;
    const char *want; /* in the text of the refusal; NULL: taken */
} request_rows[] = {
    {.name = "a good one"},
    {.name = "with a group", .group = "2000"},
    {.name = "with SELinux's context", .flag = "context=system_u:object_r:container_file_t:s0:c1"},
    {.name = "no id", .id = "", .want = "volume_id"},
    {.name = "id with a slash", .id = "a/b", .want = "volume_id"},
    {.name = "id that is ..", .id = "..", .want = "volume_id"},
    {.name = "id in the way of a hidden file", .id = ".x", .want = "volume_id"},
    {.name = "no target", .path = "", .want = "target_path is missing"},
    {.name = "target of another Pod",
     .path = "/k/pods/uid-2/volumes/kubernetes.io~csi/db/mount",
     .want = "another Pod"},
    {.name = "no capability", .bare = true, .want = "volume_capability"},
    {.name = "block", .block = true, .want = "block access"},
    {.name = "fsType", .fs_type = "ext4", .want = "fsType"},
    {.name = "writable", .writable = true, .want = "readOnly: true"},
    {.name = "group by name", .group = "staff", .want = "group's number"},
    {.name = "group below 0", .group = "-1", .want = "group's number"},
    {.name = "mount option", .flag = "exec", .want = "mount options"},
    {.name = "no projection", .key = "projection", .want = "\"projection\""},
    {.name = "projection elsewhere", .key = "projection", .value = "../x", .want = "plain name"},
    {.name = "unknown attribute", .key = "role", .value = "admin", .want = "the only one"},
    {.name = "reserved attribute", .key = KEY("x"), .value = "1", .want = "kubelet's own"},
    {.name = "tokens twice", .two_tokens = true, .want = "kubelet's own"},
    {.name = "no Pod", .key = KEY("pod.name"), .want = "podInfoOnMount"},
    {.name = "no namespace", .key = KEY("pod.namespace"), .want = "podInfoOnMount"},
    {.name = "no account", .key = KEY("serviceAccount.name"), .want = "podInfoOnMount"},
    {.name = "namespace that is none", .key = KEY("pod.namespace"), .value = "a/b", .want = "name"},
    {.name = "not ephemeral", .key = KEY("ephemeral"), .value = "false", .want = "inline"},
    {.name = "no word on it", .key = KEY("ephemeral"), .want = "inline"},
};

/* CSI's structs are not const; nothing is written through them here. */
static char *text(const char *z)
{
    union {
        const char *in;
        char *out;
    } u = {.in = z};

    return u.out;
}

static const char *given(const char *z, const char *otherwise)
{
    return z ? z : otherwise;
}

static size_t make_context(const struct request_row *r, struct csi_pair *to)
{
    static const char *const good[][2] = {
        {KEY("pod.name"), "shop-1"}, {KEY("pod.namespace"), "shop"},
        {KEY("pod.uid"), "uid-1"},   {KEY("serviceAccount.name"), "shop"},
        {KEY("ephemeral"), "true"},  {"projection", "db"}};
    bool done = !r->key;
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(good); i++) {
        bool here = r->key && strcmp(r->key, good[i][0]) == 0;

        done = done || here;
        if (!here || r->value)
            to[n++] = (struct csi_pair){text(good[i][0]), text(here ? r->value : good[i][1])};
    }
    if (!done)
        to[n++] = (struct csi_pair){text(r->key), text(r->value)};
    return n;
}

static void request(void **state)
{
    const struct request_row *r = *state;
    struct csi_pair context[8];
    char *flags[2] = {text(r->flag), NULL};
    struct csi_publish p = {.volume_id = text(given(r->id, "csi-1")),
                            .target_path = text(given(r->path, TARGET_DIR "db/mount")),
                            .readonly = !r->writable,
                            .has_capability = !r->bare,
                            .is_mount = !r->block,
                            .fs_type = text(given(r->fs_type, "")),
                            .mount_group = text(given(r->group, "")),
                            .mount_flags = flags,
                            .context = context,
                            .n_context = make_context(r, context),
                            .tokens_in_context_ignored = r->two_tokens};
    struct node_request q = {.pod = "untouched"};
    struct lh_err err = {0};
    int rc = node_request_read(&p, &q, &err);

    if (r->want) {
        assert_int_equal(rc, -LH_E_INVALID);
        assert_string_equal(err.reason, LH_REASON_VolumeInvalid);
        assert_non_null(strstr(err.msg, r->want));
        assert_string_equal(q.pod, "untouched");
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(q.pod, "shop-1");
    assert_string_equal(q.namespace_, "shop");
    assert_string_equal(q.service_account, "shop");
    assert_string_equal(q.projection, "db");
    assert_string_equal(q.target.volume, "db");
    assert_int_equal(q.gid, r->group ? 2000 : LH_MOUNT_NO_GID);
    assert_string_equal(q.context, r->flag ? r->flag + strlen("context=") : "");
}

/* ---- when a call is answered ---- */

static struct answer_row {
    const char *name;
    lh_ms deadline;
    bool first;
    lh_ms want;
} answer_rows[] = {
    {"the first soon", INT64_MAX, true, 1000 + 10000},
    {"a later one late", INT64_MAX, false, 1000 + 60000},
    {"before the client gives up", 1000 + 5000, false, 1000 + 4000},
    {"the first, too", 1000 + 5000, true, 1000 + 4000},
    {"at once when it is about to", 1000 + 500, false, 1000},
    {"never before now", 500, true, 1000},
};

static void answer_by(void **state)
{
    const struct answer_row *r = *state;

    assert_int_equal(node_answer_by(1000, r->deadline, 60000, r->first), r->want);
}

/* ---- memory ---- */

static struct memory_row {
    const char *name;
    int64_t all, in_namespace;
    const char *want;
} memory_rows[] = {
    {"room for it", 0, 0, NULL},
    {"just room in the namespace", 7, 4, NULL},
    {"the namespace is full", 6, 5, "namespace \"shop\""},
    {"just room on the node", 8, 0, NULL},
    {"the node is full", 9, 0, "this node"},
};

static void memory(void **state)
{
    const struct memory_row *r = *state;
    struct lh_err err = {0};
    int rc = node_memory_check(2, r->all, 10, r->in_namespace, 6, "shop", &err);

    if (!r->want) {
        assert_int_equal(rc, 0);
        return;
    }
    assert_int_equal(rc, -LH_E_TOOBIG);
    assert_string_equal(err.reason, LH_REASON_NodeMemoryFull);
    assert_non_null(strstr(err.msg, r->want));
}

/* Kubelet tries again after any of them; people read them. */
static void status(void **state)
{
    static const struct {
        int code;
        enum lh_grpc_status want;
    } rows[] = {{LH_E_INVALID, LH_GRPC_FAILED_PRECONDITION},
                {LH_E_CONFLICT, LH_GRPC_FAILED_PRECONDITION},
                {LH_E_TOOBIG, LH_GRPC_RESOURCE_EXHAUSTED},
                {LH_E_NOTFOUND, LH_GRPC_NOT_FOUND},
                {LH_E_DENIED, LH_GRPC_PERMISSION_DENIED},
                {LH_E_EXPIRED, LH_GRPC_UNAUTHENTICATED},
                {LH_E_NOMEM, LH_GRPC_INTERNAL},
                {LH_E_OS, LH_GRPC_INTERNAL},
                {LH_E_BUSY, LH_GRPC_UNAVAILABLE},
                {LH_E_UNAVAILABLE, LH_GRPC_UNAVAILABLE},
                {0, LH_GRPC_UNAVAILABLE}};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        assert_int_equal(node_status_of(rows[i].code), rows[i].want);
}

static struct CMUnitTest row(const char *name, CMUnitTestFunction fn, void *state)
{
    return (struct CMUnitTest){name, fn, NULL, NULL, state};
}

int main(void)
{
    struct CMUnitTest tests[80];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(target_rows); i++)
        tests[n++] = row(target_rows[i].name, target, &target_rows[i]);
    for (size_t i = 0; i < LH_ARRAY_LEN(request_rows); i++)
        tests[n++] = row(request_rows[i].name, request, &request_rows[i]);
    for (size_t i = 0; i < LH_ARRAY_LEN(answer_rows); i++)
        tests[n++] = row(answer_rows[i].name, answer_by, &answer_rows[i]);
    for (size_t i = 0; i < LH_ARRAY_LEN(memory_rows); i++)
        tests[n++] = row(memory_rows[i].name, memory, &memory_rows[i]);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(status);
    return _cmocka_run_group_tests("node_request", tests, n, NULL, NULL);
}
