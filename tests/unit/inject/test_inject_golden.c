/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/golden/inject/CASE: pod.yaml, stores.yaml and policy.yaml (where there is one) in,
 * patch.json and problems.txt (where there are any) out, byte for byte. LH_GOLDEN_WRITE=1 writes
 * what comes out instead; read the difference before it is committed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "world.h"

#define FOLDER LH_SOURCE_DIR "/tests/golden/inject"

static char *read_file(const char *name, const char *file)
{
    char path[512], *text = NULL;
    size_t n;

    snprintf(path, sizeof(path), FOLDER "/%s/%s", name, file);
    if (access(path, R_OK) != 0)
        return NULL;
    return lh_fs_read_at(AT_FDCWD, path, 1 << 20, &text, &n, NULL) < 0 ? NULL : text;
}

static void write_file(const char *name, const char *file, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), FOLDER "/%s/%s", name, file);
    if (!*text)
        unlink(path);
    else
        lh_fs_replace_at(AT_FDCWD, path, 0644, text, strlen(text), NULL);
}

static void same(const char *name, const char *file, const char *got)
{
    char *want;

    if (getenv("LH_GOLDEN_WRITE")) {
        write_file(name, file, got);
        return;
    }
    want = read_file(name, file);
    if (strcmp(want ? want : "", got) != 0)
        fail_msg("%s/%s differs:\n%s", name, file, got);
    lh_free(want);
}

static char *pretty(const lh_json *v)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n;

    lh_buf_init(&b, 1 << 22);
    if (v)
        lh_json_write(v, LH_JSON_PRETTY, &b);
    if (v)
        lh_buf_put_c(&b, '\n');
    return lh_buf_finish(&b, &out, &n, NULL) < 0 ? NULL : out;
}

/* On our own output no change; neither once the API server has put its defaults in. */
static void check_again(struct world *w, const lh_json *object, const lh_json *patch, bool defaults)
{
    struct lh_problems ps = {0};
    lh_json *patched = NULL, *again = NULL;
    struct lh_err err = {0};
    struct lh_pod_at pod;
    const char *why;

    if (lh_jsonpatch_apply(object, patch, &patched, &err) < 0)
        fail_msg("the patch does not apply: %s", err.msg);
    assert_true(lh_pod_at(patched, &pod));
    why = world_pod_problem(pod.metadata, pod.spec);
    if (why)
        fail_msg("%s", why);
    if (defaults)
        world_add_defaults(lh_json_mut(pod.spec));
    assert_int_equal(lh_inject_object(&w->w, patched, NULL, &again, &ps, &err), 0);
    if (lh_json_len(again)) {
        char *text = pretty(again);

        fail_msg("a second run changes:\n%s", text);
    }
    assert_null(lh_problems_denial(&ps));
    lh_json_unref(patched);
    lh_json_unref(again);
    lh_problems_done(&ps);
}

static void golden(void **state)
{
    const char *name = *state;
    char *pod = read_file(name, "pod.yaml"), *stores = read_file(name, "stores.yaml");
    char *policy = read_file(name, "policy.yaml"), *text;
    struct lh_yaml_doc *docs = NULL;
    struct lh_problems ps = {0};
    lh_json *patch = NULL;
    struct lh_err err = {0};
    struct world w;
    size_t n = 0;

    assert_non_null(pod);
    if (!stores)
        stores = read_file("..", "inject/stores.yaml");
    assert_non_null(stores);
    if (world_init(&w, stores, policy, &err) < 0 ||
        lh_yaml_parse(lh_str(pod), "pod.yaml", NULL, &docs, &n, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(n, 1);
    assert_int_equal(lh_inject_object(&w.w, docs[0].value, NULL, &patch, &ps, &err), 0);
    text = pretty(patch);
    same(name, "patch.json", text);
    lh_free(text);
    text = world_problems(&ps);
    same(name, "problems.txt", text);
    lh_free(text);
    if (patch) {
        check_again(&w, docs[0].value, patch, false);
        check_again(&w, docs[0].value, patch, true);
    }
    lh_json_unref(patch);
    lh_problems_done(&ps);
    lh_yaml_free(docs, n);
    world_done(&w);
    lh_free(pod);
    lh_free(stores);
    lh_free(policy);
}

static int is_case(const struct dirent *d)
{
    return d->d_name[0] != '.' && d->d_type == DT_DIR;
}

int main(void)
{
    static struct CMUnitTest tests[128];
    struct dirent **cases = NULL;
    int n = scandir(FOLDER, &cases, is_case, alphasort);

    lh_json_init();
    if (n <= 0 || n > 128) {
        fprintf(stderr, "no cases in %s\n", FOLDER);
        return 1;
    }
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){cases[i]->d_name, golden, NULL, NULL, cases[i]->d_name};
    n = _cmocka_run_group_tests("inject_golden", tests, (size_t)n, NULL, NULL);
    /* The names belong to the tests until here; the process ends. */
    return n;
}
