/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After publication no plaintext stays in the process: a canary goes the whole real way, from a
 * manager over TLS through the provider and every format into files, and is then searched for in
 * our own memory, connections still open. The manager is another process, so that its copies are
 * not ours.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_manager.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/engine/engine.h"
#include "leasehold/http/client.h"
#include "support.h"

enum { CANARY = 32, STORE_MAX = 16384 };

static unsigned char masked[CANARY];
static pid_t manager;
static char store_json[STORE_MAX];
static struct lh_test_scratch files, state_dir, cred;

static int libraries(void)
{
    struct lh_err err;

    lh_mem_init();
    lh_json_init();
    return lh_crypto_init(&err) < 0 || lh_http_global_init(&err) < 0 ? -1 : 0;
}

/* Serves until it is killed. Only here is the canary ever spelled out by us. */
static void manager_main(int out)
{
    struct lh_loop *loop = NULL;
    struct fake_manager *m = NULL;
    char value[CANARY + 1] = {0}, json[256];
    struct lh_err err;
    char *text;

    if (libraries() < 0 || lh_loop_new(&loop, &err) < 0 ||
        fake_manager_new(loop, NULL, &m, &err) < 0)
        _exit(1);
    lh_test_canary_reveal(masked, CANARY, value);
    snprintf(json, sizeof(json), "{\"username\":\"app\",\"password\":\"%s\"}", value);
    fake_manager_kv_put(m, "secret/app", json);
    text = fake_manager_store_json(
        m, "{\"token\":{\"secretRef\":{\"name\":\"t\",\"key\":\"token\"}}}");
    if (write(out, text, strlen(text) + 1) < 0)
        _exit(1);
    close(out);
    lh_loop_run(loop, &err);
    _exit(0);
}

static int read_store(int in)
{
    size_t n = 0;
    ssize_t r;

    while (n < sizeof(store_json) - 1 &&
           (r = read(in, store_json + n, sizeof(store_json) - 1 - n)) > 0)
        n += (size_t)r;
    close(in);
    return n > 0 ? 0 : -1;
}

static int setup(void **state)
{
    int pipes[2];

    (void)state;
    lh_test_canary(masked, CANARY);
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -1;
    manager = fork();
    if (manager == 0) {
        close(pipes[0]);
        manager_main(pipes[1]);
    }
    close(pipes[1]);
    return read_store(pipes[0]) | libraries() | lh_test_scratch_new(&files) |
           lh_test_scratch_new(&state_dir) | lh_test_scratch_new(&cred) |
           lh_test_write(cred.fd, "token", "s.root");
}

static int teardown(void **state)
{
    (void)state;
    kill(manager, SIGKILL);
    waitpid(manager, NULL, 0);
    lh_test_scratch_done(&files);
    lh_test_scratch_done(&state_dir);
    lh_test_scratch_done(&cred);
    return 0;
}

static const char spec_json[] =
    "{\"items\":[{\"name\":\"app\",\"path\":\"secret/app\",\"files\":["
    "{\"path\":\"raw\",\"key\":\"password\"},{\"path\":\"a.json\",\"format\":\"json\"},"
    "{\"path\":\"a.yaml\",\"format\":\"yaml\"},{\"path\":\"a.env\",\"format\":\"env\"},"
    "{\"path\":\"a.properties\",\"format\":\"properties\"},"
    "{\"path\":\"url\",\"template\":\"pg://{{ .username }}:{{ .password | urlquery }}@db\"}]}]}";

static struct lh_store *store;
static struct lh_projection *projection;
static struct lh_identity id;
static struct lh_loop *loop;
static struct lh_sink *sink;
static struct lh_engine *engine;

static void on_failed(void *arg, const struct lh_err *err)
{
    (void)arg;
    fprintf(stderr, "%s\n", err->msg);
}

static int parse(struct lh_err *err)
{
    lh_auto_json lh_json *obj = NULL, *spec = NULL;
    int rc = lh_json_parse(lh_str(store_json), NULL, &obj, err);

    if (rc == 0)
        rc = lh_json_parse(lh_str(spec_json), NULL, &spec, err);
    if (rc == 0)
        rc = lh_store_parse(obj, "test", &store, err);
    if (rc == 0)
        rc = lh_projection_parse_spec(spec, "test", "shop", "p", &projection, err);
    return rc;
}

static int open_engine(struct lh_err *err)
{
    struct lh_engine_options o = {
        .identity = &id, .default_mode = 0400, .state_path = state_dir.path, .failed = on_failed};
    char path[300];
    int rc = parse(err);

    snprintf(path, sizeof(path), "%s/token", cred.path);
    if (rc == 0)
        rc = lh_loop_new(&loop, err);
    if (rc == 0)
        rc = lh_token_source_file(loop, path, &id.credential, err);
    if (rc == 0)
        rc = lh_sink_folder(files.path, (gid_t)-1, &sink, err);
    id.subject.namespace_ = "shop";
    id.allow_loopback = true;
    o.loop = loop;
    o.sink = sink;
    o.store = store;
    o.projection = projection;
    return rc < 0 ? rc : lh_engine_new(&o, &engine, err);
}

static void close_engine(void)
{
    lh_engine_free(engine);
    if (sink)
        sink->free(sink);
    if (id.credential)
        id.credential->free(id.credential);
    lh_projection_free(projection);
    lh_store_unref(store);
    if (loop)
        lh_loop_free(loop);
}

static bool is_ready(void *arg)
{
    return lh_engine_is_ready(arg);
}

/* The file holds the canary: the way was gone to its end. Compared masked. */
static bool file_has_canary(const char *path)
{
    unsigned char bytes[512];
    int fd = openat(files.fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));
    bool found = false;

    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < n; i++)
        bytes[i] ^= LH_TEST_MASK;
    for (ssize_t i = 0; i + CANARY <= n; i++)
        found = found || memcmp(bytes + i, masked, CANARY) == 0;
    lh_wipe(bytes, sizeof(bytes));
    return found;
}

static void no_copy_is_left_once_files_are_published(void **state)
{
    static const char *const paths[] = {"raw", "a.json", "a.yaml", "a.env", "a.properties", "url"};
    struct lh_err err = {0};
    int open_copies, closed_copies, with_canary = 0;
    bool ready;
    int rc = open_engine(&err);

    (void)state;
    if (rc < 0)
        fprintf(stderr, "%s\n", err.msg);
    assert_int_equal(rc, 0);
    lh_engine_start(engine);
    ready = lh_test_run_until(loop, is_ready, engine);
    open_copies = lh_test_residue(masked, CANARY);
    for (size_t i = 0; i < LH_ARRAY_LEN(paths); i++)
        with_canary += file_has_canary(paths[i]);
    close_engine();
    closed_copies = lh_test_residue(masked, CANARY);
    assert_true(ready);
    assert_int_equal(with_canary, LH_ARRAY_LEN(paths));
    assert_int_equal(open_copies, 0);
    assert_int_equal(closed_copies, 0);
}

/* The search itself can find one. */
static void a_copy_that_is_kept_is_found(void **state)
{
    char *copy = lh_malloc(CANARY);

    (void)state;
    lh_test_canary_reveal(masked, CANARY, copy);
    assert_true(lh_test_residue(masked, CANARY) >= 1);
    lh_free(copy);
    assert_int_equal(lh_test_residue(masked, CANARY), 0);
}

static bool folder_has_canary(const struct lh_test_scratch *s)
{
    DIR *d = opendir(s->path);
    struct dirent *e;
    bool found = false;

    while (d && (e = readdir(d))) {
        unsigned char bytes[8192];
        int fd = openat(s->fd, e->d_name, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));

        if (fd >= 0)
            close(fd);
        for (ssize_t i = 0; i < n; i++)
            bytes[i] ^= LH_TEST_MASK;
        for (ssize_t i = 0; i + CANARY <= n; i++)
            found = found || memcmp(bytes + i, masked, CANARY) == 0;
    }
    if (d)
        closedir(d);
    return found;
}

static void the_state_folder_has_no_value(void **state)
{
    (void)state;
    assert_false(folder_has_canary(&state_dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_that_is_kept_is_found),
        cmocka_unit_test(no_copy_is_left_once_files_are_published),
        cmocka_unit_test(the_state_folder_has_no_value),
    };

    lh_log_init("test", LH_LOG_ERROR, STDERR_FILENO);
    return cmocka_run_group_tests(tests, setup, teardown);
}
