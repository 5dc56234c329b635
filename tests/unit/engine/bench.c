/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "leasehold/core/rand.h"

struct bench b;

static const char store_json[] =
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":"
    "{\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":"
    "[\"https://vault.example:8200\"],\"auth\":{\"appRole\":{\"mount\":\"approle\",\"roleId\":"
    "\"r\",\"secretIdRef\":{\"name\":\"t\",\"key\":\"id\"}}}}}}";

static lh_json *parse(const char *text)
{
    lh_json *v = NULL;
    struct lh_err err;

    if (lh_json_parse(lh_str(text), NULL, &v, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    return v;
}

int bench_setup(void **state)
{
    lh_json *obj;
    struct lh_err err;

    (void)state;
    memset(&b, 0, sizeof(b));
    lh_clock_fake(1000000, 1700000000000);
    lh_rand_seed(7);
    lh_metrics_reset();
    fake_reset();
    if (lh_loop_new(&b.loop, &err) < 0 || lh_test_scratch_new(&b.files) < 0 ||
        lh_test_scratch_new(&b.state) < 0)
        return -1;
    obj = parse(store_json);
    if (lh_store_parse(obj, "test", &b.store, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    lh_json_unref(obj);
    b.identity.subject =
        (struct lh_subject){.namespace_ = "shop", .service_account = "web", .cluster = "c1"};
    return b.store ? 0 : -1;
}

int bench_teardown(void **state)
{
    (void)state;
    bench_kill();
    lh_notify_done(&b.notify);
    lh_projection_free(b.projection);
    lh_store_unref(b.store);
    lh_loop_free(b.loop);
    lh_test_scratch_done(&b.files);
    lh_test_scratch_done(&b.state);
    lh_clock_real();
    return 0;
}

void bench_projection(const char *spec_json)
{
    lh_json *spec = parse(spec_json);
    struct lh_err err = {0};

    lh_projection_free(b.projection);
    b.projection = NULL;
    if (lh_projection_parse_spec(spec, "test", "shop", "p", &b.projection, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    lh_json_unref(spec);
    assert_non_null(b.projection);
}

static void on_ready(void *arg)
{
    (void)arg;
    b.ready++;
}

static void on_changed(void *arg)
{
    (void)arg;
    b.changed++;
}

static void on_failed(void *arg, const struct lh_err *err)
{
    (void)arg;
    b.failed++;
    b.last = *err;
}

void bench_engine(void)
{
    struct lh_engine_options o = {.loop = b.loop,
                                  .provider = b.provider ? b.provider : &fake_provider_ops,
                                  .store = b.store,
                                  .identity = &b.identity,
                                  .projection = b.projection,
                                  .default_mode = 0440,
                                  .notify = &b.notify,
                                  .state_path = b.no_state ? NULL : b.state.path,
                                  .state_key = "pod-uid",
                                  .once = b.once,
                                  .parked = b.parked,
                                  .ready = on_ready,
                                  .changed = on_changed,
                                  .failed = on_failed};
    struct lh_err err = {0};

    if (!b.sink)
        assert_int_equal(lh_sink_folder(b.files.path, (gid_t)-1, &b.sink, &err), 0);
    o.sink = b.sink;
    assert_int_equal(lh_engine_new(&o, &b.e, &err), 0);
    b.parked = NULL;
    lh_engine_start(b.e);
}

void bench_kill(void)
{
    lh_engine_free(b.e);
    lh_parked_free(b.parked);
    b.parked = NULL;
    if (b.sink)
        b.sink->free(b.sink);
    b.e = NULL;
    b.sink = NULL;
}

void bench_run(int64_t ms)
{
    lh_test_step(b.loop, ms, ms > MIN ? 250 : 50);
}

void bench_ready(void)
{
    for (int i = 0; i < 200 && !lh_engine_is_ready(b.e); i++)
        bench_run(50);
    assert_true(lh_engine_is_ready(b.e));
}

static void on_ended(void *arg)
{
    (void)arg;
    b.ended = true;
}

void bench_end(bool revoke)
{
    b.ended = false;
    lh_engine_end(b.e, revoke, 1500, on_ended, NULL);
    for (int i = 0; i < 100 && !b.ended; i++)
        bench_run(50);
    assert_true(b.ended);
}

char *bench_read(const char *path, char out[256])
{
    int fd = openat(b.files.fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 255);

    out[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return out;
}

bool bench_file_works(const char *path)
{
    char value[256];

    return fake_works(bench_read(path, value));
}
