/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's life with a provider that is not there: start, gate, SIGTERM, restart, init mode. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "fake_provider.h"
#include "leasehold/core/log.h"
#include "support.h"

static struct lh_test_scratch state_dir, files_dir, cred_dir;
static struct lh_agentcfg *cfg;

static int setup(void **state)
{
    (void)state;
    fake_reset();
    lh_log_init("test", LH_LOG_OFF, STDERR_FILENO);
    return lh_test_scratch_new(&state_dir) | lh_test_scratch_new(&files_dir) |
           lh_test_scratch_new(&cred_dir);
}

static int teardown(void **state)
{
    (void)state;
    lh_agentcfg_free(cfg);
    cfg = NULL;
    lh_test_scratch_done(&state_dir);
    lh_test_scratch_done(&files_dir);
    lh_test_scratch_done(&cred_dir);
    return 0;
}

static void config(const char *mode)
{
    struct lh_err err = {0};
    char text[4096];

    snprintf(
        text, sizeof(text),
        "{\"version\":1,\"mode\":\"%s\",\"namespace\":\"shop\",\"serviceAccount\":\"web\","
        "\"store\":{\"kind\":\"SecretStore\",\"name\":\"vault\",\"namespace\":\"shop\",\"spec\":"
        "{\"vault\":{\"addresses\":[\"https://v.example:8200\"],\"auth\":{\"appRole\":"
        "{\"mount\":\"a\",\"roleId\":\"r\",\"secretIdRef\":{\"name\":\"s\",\"key\":\"id\"}}}}}},"
        "\"projection\":{\"name\":\"p\",\"spec\":{\"items\":[{\"name\":\"db\",\"path\":"
        "\"database/creds/x\"}]}},\"mountPath\":\"%s\",\"statePath\":\"%s\","
        "\"credentialPath\":\"%s\",\"defaultMode\":\"0440\"}",
        mode, files_dir.path, state_dir.path, cred_dir.path);
    if (lh_agentcfg_parse(lh_str(text), "test", &cfg, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    assert_non_null(cfg);
}

/* SIGTERM to ourselves after ms of real time: the agent runs on the real clock here. */
static void term_after(unsigned ms)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM};
    struct itimerspec at = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L}};
    timer_t t;

    assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
    assert_int_equal(timer_settime(t, 0, &at, NULL), 0);
}

static int run(void)
{
    const struct agent_run_options o = {
        .cfg = cfg, .provider = &fake_provider_ops, .pod_uid = "uid-1"};
    struct lh_err err = {0};
    int rc = agent_run(&o, &err);

    if (rc < 0)
        fprintf(stderr, "%s\n", err.msg);
    return rc;
}

static bool file_exists(const struct lh_test_scratch *s, const char *name)
{
    return faccessat(s->fd, name, F_OK, 0) == 0;
}

static void a_sidecar_publishes_and_at_sigterm_revokes(void **state)
{
    (void)state;
    fake_role("database/creds/x", 3600000, 0, true);
    config("sidecar");
    term_after(200);
    assert_int_equal(run(), 0);
    assert_true(file_exists(&files_dir, "db/username"));
    assert_true(lh_test_file_is(state_dir.fd, "ready", "ok"));
    assert_false(file_exists(&state_dir, "state"));
    assert_int_equal(fake_issued(NULL), 1);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_tokens(), 0);
}

static void an_init_container_publishes_ends_by_itself_and_revokes_nothing(void **state)
{
    (void)state;
    fake_role("database/creds/x", 3600000, 0, true);
    config("init");
    assert_int_equal(run(), 0);
    assert_true(file_exists(&files_dir, "db/username"));
    assert_int_equal(fake_live(NULL), 1);
    assert_int_equal(fake_count(FAKE_REVOKE_TOKEN, NULL), 0);
}

static void an_init_container_that_has_published_nothing_leaves_nothing(void **state)
{
    (void)state;
    fake_role("database/creds/x", 3600000, 0, true);
    fake_rule_add(&(struct fake_rule){
        .op = FAKE_READ, .code = LH_E_DENIED, .status = 403, .reason = "PermissionDenied"});
    config("init");
    term_after(200);
    assert_int_equal(run(), 0);
    assert_int_equal(fake_tokens(), 0);
}

static void while_it_waits_the_gate_says_why(void **state)
{
    (void)state;
    fake_role("database/creds/x", 3600000, 0, true);
    fake.down = true;
    config("sidecar");
    term_after(300);
    assert_int_equal(run(), 0);
    assert_true(file_exists(&state_dir, "ready"));
    assert_true(lh_test_file_is(state_dir.fd, "ready",
                                "Unreachable: SecretStore \"vault\": fake: Unreachable"));
}

static void sigterm_ends_it_in_time_while_the_manager_is_away(void **state)
{
    lh_ms from = lh_clock_now();

    (void)state;
    fake_role("database/creds/x", 3600000, 0, true);
    fake.latency_ms = 50;
    config("sidecar");
    term_after(300);
    fake_rule_add(&(struct fake_rule){
        .op = FAKE_REVOKE_TOKEN, .code = LH_E_UNAVAILABLE, .reason = "Unreachable"});
    assert_int_equal(run(), 0);
    assert_in_range(lh_clock_now() - from, 300, 2000);
}

static void a_folder_that_is_missing_is_an_error_that_names_it(void **state)
{
    struct lh_err err = {0};

    (void)state;
    config("sidecar");
    lh_test_scratch_done(&files_dir);
    const struct agent_run_options o = {.cfg = cfg, .provider = &fake_provider_ops};

    assert_int_equal(agent_run(&o, &err), -LH_E_OS);
    assert_non_null(strstr(err.msg, cfg->mount_path));
    assert_int_equal(lh_test_scratch_new(&files_dir), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_sidecar_publishes_and_at_sigterm_revokes),
        T(an_init_container_publishes_ends_by_itself_and_revokes_nothing),
        T(an_init_container_that_has_published_nothing_leaves_nothing),
        T(while_it_waits_the_gate_says_why),
        T(sigterm_ends_it_in_time_while_the_manager_is_away),
        T(a_folder_that_is_missing_is_an_error_that_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
