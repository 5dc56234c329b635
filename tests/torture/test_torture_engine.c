/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's main path with one call failing: start, publication, renewal, rotation, end. Whatever
 * fails, the error is clean, nothing leaks, and what could start becomes ready all the same.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_provider.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/engine/engine.h"
#include "support.h"

enum { SEC = 1000 };

static const char store_json[] =
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":"
    "{\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":"
    "[\"https://vault.example:8200\"],\"auth\":{\"appRole\":{\"mount\":\"approle\",\"roleId\":"
    "\"r\",\"secretIdRef\":{\"name\":\"t\",\"key\":\"id\"}}}}}}";
static const char spec_json[] =
    "{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\"},{\"name\":\"kv\",\"path\":"
    "\"secret/a\",\"files\":[{\"path\":\"conf/a.env\",\"format\":\"env\"}]}],\"refresh\":"
    "{\"interval\":\"30s\"},\"overlap\":\"10s\"}";

static struct lh_store *store;
static struct lh_projection *projection;
static struct lh_loop *loop;

struct outcome {
    const char *what; /* NULL: all as it should be; else what was wrong */
    bool started;
    struct lh_err err;
};

static bool file_works(const struct lh_test_scratch *files)
{
    char user[64];
    int fd = openat(files->fd, "db/username", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, user, sizeof(user) - 1);

    if (fd >= 0)
        close(fd);
    user[n > 0 ? n : 0] = '\0';
    return fake_works(user);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void live(struct lh_engine *e, const struct lh_test_scratch *files, struct outcome *out)
{
    bool ended = false;

    lh_engine_start(e);
    for (int i = 0; i < 400 && !lh_engine_is_ready(e); i++)
        lh_test_step(loop, 250, 250);
    if (!lh_engine_is_ready(e)) {
        out->what = "never became ready";
        return;
    }
    lh_test_step(loop, 70 * SEC, 250); /* renewals, one rotation, polls */
    if (!file_works(files))
        out->what = "the file holds a dead credential";
    lh_engine_end(e, true, 1500, set_flag, &ended);
    for (int i = 0; i < 20 && !ended; i++)
        lh_test_step(loop, 250, 250);
    if (!ended)
        out->what = "did not end";
}

static int open_all(struct lh_sink **sink, struct lh_engine **e,
                    const struct lh_test_scratch *files, const struct lh_test_scratch *state,
                    struct lh_err *err)
{
    static const struct lh_identity id = {.subject = {.namespace_ = "shop"}};
    struct lh_engine_options o = {.provider = &fake_provider_ops,
                                  .store = store,
                                  .identity = &id,
                                  .projection = projection,
                                  .default_mode = 0440,
                                  .state_path = state->path,
                                  .state_key = "uid"};
    int rc = lh_sink_folder(files->path, (gid_t)-1, sink, err);

    o.loop = loop;
    o.sink = *sink;
    return rc < 0 ? rc : lh_engine_new(&o, e, err);
}

/* The loop is made before: libuv itself aborts where its first handles find no memory. */
static void scenario(struct outcome *out)
{
    struct lh_test_scratch files, state;
    struct lh_sink *sink = NULL;
    struct lh_engine *e = NULL;

    if (lh_test_scratch_new(&files) < 0 || lh_test_scratch_new(&state) < 0) {
        out->what = "no scratch folder";
        return;
    }
    out->started = open_all(&sink, &e, &files, &state, &out->err) == 0;
    if (out->started)
        live(e, &files, out);
    lh_engine_free(e);
    if (sink)
        sink->free(sink);
    lh_loop_turn(loop, 0); /* close callbacks */
    lh_test_scratch_done(&files);
    lh_test_scratch_done(&state);
}

static void world(void)
{
    lh_clock_fake(1000000, 1700000000000);
    lh_rand_seed(3);
    fake_reset();
    fake_role("database/creds/x", 20 * SEC, 60 * SEC, true);
    fake_kv("secret/a", "v1");
}

/* Once without a failure, so that what is made once and kept is there. */
static int setup(void **state)
{
    struct outcome out = {0};
    lh_json *obj = NULL, *spec = NULL;
    struct lh_err err;

    (void)state;
    if (lh_json_parse(lh_str(store_json), NULL, &obj, &err) < 0 ||
        lh_json_parse(lh_str(spec_json), NULL, &spec, &err) < 0 ||
        lh_store_parse(obj, "test", &store, &err) < 0 ||
        lh_projection_parse_spec(spec, "test", "shop", "p", &projection, &err) < 0 ||
        lh_loop_new(&loop, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    lh_json_unref(obj);
    lh_json_unref(spec);
    world();
    scenario(&out);
    if (out.what)
        fprintf(stderr, "%s\n", out.what);
    return out.what ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_loop_free(loop);
    lh_projection_free(projection);
    lh_store_unref(store);
    lh_clock_real();
    return 0;
}

/* Allocations that failed are not counted: n - 1 were made before that one. */
static bool mem_failed(unsigned long n, unsigned long before)
{
    return lh_mem_count() - before >= n - 1;
}

static void check(const struct outcome *out, unsigned long n, int code, size_t blocks)
{
    if (out->what)
        fail_msg("call %lu: %s", n, out->what);
    if (!out->started && ((out->err.code != code && out->err.os != ENOMEM) || !out->err.msg[0]))
        fail_msg("call %lu: error %d \"%s\"", n, out->err.code, out->err.msg);
    if (lh_mem_live_blocks() != blocks)
        fail_msg("call %lu: %zu blocks leaked", n, lh_mem_live_blocks() - blocks);
}

/* Each of the first, then ever fewer: what comes late is the same again and again. */
static unsigned long next(unsigned long n)
{
    return n < 400 ? n + 1 : n + n / 60;
}

static void every_allocation(void **state)
{
    unsigned long rounds = 0;

    (void)state;
    for (unsigned long n = 1;; n = next(n)) {
        unsigned long before = lh_mem_count();
        size_t blocks;
        struct outcome out = {0};
        bool hit;

        world();
        lh_metrics_reset(); /* series that a failure dropped would be made later */
        blocks = lh_mem_live_blocks();
        lh_mem_fail_at(n);
        scenario(&out);
        lh_mem_fail_at(0);
        lh_metrics_reset();
        hit = mem_failed(n, before);
        check(&out, n, LH_E_NOMEM, blocks);
        rounds++;
        if (!hit)
            break;
    }
    assert_true(rounds > 400);
}

static void every_file_call(void **state)
{
    static const int errors[] = {EIO, ENOSPC, ENOENT};

    (void)state;
    for (size_t k = 0; k < LH_ARRAY_LEN(errors); k++) {
        unsigned long n = 0;
        bool hit = true;

        while (hit) {
            size_t blocks;
            struct outcome out = {0};

            world();
            lh_metrics_reset();
            blocks = lh_mem_live_blocks();
            lh_fs_fail_at(++n, errors[k]);
            scenario(&out);
            hit = lh_fs_has_failed();
            lh_fs_fail_at(0, 0);
            lh_metrics_reset();
            check(&out, n, LH_E_OS, blocks);
        }
        assert_true(n > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation),
        cmocka_unit_test(every_file_call),
    };

    lh_mem_init();
    lh_json_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
