/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/http/client.h"

static void notify_by(const char *text)
{
    struct lh_err err = {0};

    if (lh_notify_parse(text, &b.notify, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    assert_int_not_equal(b.notify.kind, LH_NOTIFY_NONE);
}

static void start_kv(void)
{
    fake_kv("secret/a", "v1");
    bench_projection("{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\"}],\"refresh\":"
                     "{\"interval\":\"30s\"}}");
    bench_engine();
    bench_ready();
}

/* Turns the loop in real time, for what the virtual clock does not drive: children and sockets. */
static bool wait_for(bool (*cond)(void *arg), void *arg)
{
    return lh_test_run_until(b.loop, cond, arg);
}

static bool exists(void *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static void an_exec_runs_after_a_change_and_not_after_the_first(void **state)
{
    char mark[300], text[400];

    (void)state;
    snprintf(mark, sizeof(mark), "%s/told", b.state.path);
    snprintf(text, sizeof(text), "exec:[\"/usr/bin/touch\",\"%s\"]", mark);
    notify_by(text);
    start_kv();
    bench_run(20 * SEC);
    assert_false(exists(mark));
    fake_kv("secret/a", "v2");
    bench_run(20 * SEC);
    assert_true(wait_for(exists, mark));
    assert_int_equal(b.changed, 1);
}

static bool has_failed_thrice(void *arg)
{
    (void)arg;
    bench_run(500); /* attempts are spaced by the virtual clock */
    return b.failed >= 3;
}

static void an_exec_that_fails_is_tried_twice_more_and_said(void **state)
{
    (void)state;
    notify_by("exec:[\"/bin/false\"]");
    start_kv();
    fake_kv("secret/a", "v2");
    bench_run(35 * SEC);
    assert_true(wait_for(has_failed_thrice, NULL));
    assert_string_equal(b.last.reason, LH_REASON_NotifyFailed);
    assert_non_null(strstr(b.last.msg, "/bin/false exited with 1"));
    bench_run(20 * SEC);
    assert_int_equal(b.failed, 3);
}

static void a_signal_reaches_the_process_by_name(void **state)
{
    char prog[300], text[400];
    pid_t pid;
    int status, started[2];

    (void)state;
    /* A process of a name of its own: this test must signal nobody else's. */
    snprintf(prog, sizeof(prog), "%s/lh-app-%d", b.state.path, (int)getpid());
    assert_int_equal(symlink("/bin/sleep", prog), 0);
    assert_int_equal(pipe2(started, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        execl(prog, prog, "60", (char *)NULL);
        _exit(127);
    }
    /* It has its name once exec closed the last writing end. */
    close(started[1]);
    assert_int_equal(read(started[0], text, 1), 0);
    close(started[0]);
    snprintf(text, sizeof(text), "signal:TERM@lh-app-%d", (int)getpid());
    notify_by(text);
    start_kv();
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    fake_kv("secret/a", "v2");
    bench_run(35 * SEC);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void a_signal_to_nobody_is_a_failure_that_says_so(void **state)
{
    (void)state;
    notify_by("signal:HUP@no-such-process-lh");
    start_kv();
    fake_kv("secret/a", "v2");
    bench_run(35 * SEC);
    assert_true(b.failed >= 1);
    assert_string_equal(b.last.reason, LH_REASON_NotifyFailed);
    assert_non_null(strstr(b.last.msg, "no-such-process-lh"));
}

struct tiny_server {
    int fd, port;
    unsigned posts;
};

static bool answer_one(void *arg)
{
    static const char answer[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    struct tiny_server *s = arg;
    char head[2048];
    int c = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n;

    if (c < 0)
        return s->posts > 0;
    n = read(c, head, sizeof(head) - 1);
    head[n > 0 ? n : 0] = '\0';
    if (strncmp(head, "POST /reload ", 13) == 0 && write(c, answer, sizeof(answer) - 1) > 0)
        s->posts++;
    close(c);
    return false;
}

static void a_loopback_url_gets_a_post(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct tiny_server s = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    socklen_t len = sizeof(a);
    char text[100];
    bool told;

    (void)state;
    assert_int_equal(bind(s.fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(s.fd, 4), 0);
    assert_int_equal(getsockname(s.fd, (struct sockaddr *)&a, &len), 0);
    snprintf(text, sizeof(text), "http://127.0.0.1:%d/reload", ntohs(a.sin_port));
    notify_by(text);
    start_kv();
    fake_kv("secret/a", "v2");
    bench_run(35 * SEC);
    told = wait_for(answer_one, &s);
    close(s.fd);
    assert_true(told);
    assert_int_equal(s.posts, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_exec_runs_after_a_change_and_not_after_the_first),
        T(an_exec_that_fails_is_tried_twice_more_and_said),
        T(a_signal_reaches_the_process_by_name),
        T(a_signal_to_nobody_is_a_failure_that_says_so),
        T(a_loopback_url_gets_a_post),
    };
    struct lh_err err;

    if (lh_http_global_init(&err) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
