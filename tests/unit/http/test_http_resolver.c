/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver that swallows every question, in a network and with a resolv.conf of our own: giving
 * up and ending the process must not wait for it. Skipped where namespaces cannot be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "rig.h"

enum { CANNOT = 77, WRONG = 1, LATE = 2 };

static struct lh_test_scratch dir;

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool loopback_up(void)
{
    struct ifreq ifr = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = ioctl(fd, SIOCGIFFLAGS, &ifr) == 0;

    ifr.ifr_flags |= IFF_UP;
    ok = ok && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
    close(fd);
    return ok;
}

/* A bound socket that nobody reads: no answer, and no refusal either. */
static bool black_hole(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static bool isolate(void)
{
    char conf[300];

    snprintf(conf, sizeof(conf), "%s/resolv.conf", dir.path);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 && loopback_up() &&
           black_hole();
}

static bool called;

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    (void)ans;
    *(int *)arg = err ? err->code : -1;
    called = true;
}

static int threads(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    int n = 0;

    while (f && fgets(line, sizeof(line), f))
        sscanf(line, "Threads: %d", &n);
    if (f)
        fclose(f);
    return n;
}

static int start(struct lh_http *h, int *code, struct lh_http_op **op)
{
    struct lh_http_request req = {.method = "GET", .url = "https://manager.example:8200/x"};

    return lh_http_start(h, &req, on_done, code, op, NULL);
}

/* In the child. */
static int cancels_at_once(void)
{
    struct lh_http_options o = rig_options();
    struct lh_http_op *op = NULL;
    struct lh_loop *loop = NULL;
    struct lh_http *h = NULL;
    int code = 0;
    int64_t begin;

    if (!isolate())
        return CANNOT;
    o.connect_timeout_ms = 300;
    if (lh_loop_new(&loop, NULL) < 0 || lh_http_new(loop, &o, &h, NULL) < 0 ||
        start(h, &code, &op) < 0)
        return WRONG;
    for (int i = 0; i < 5; i++)
        lh_loop_turn(loop, 20);
    if (threads() < 2) /* else this shows nothing */
        return WRONG;
    begin = now_ms();
    lh_http_cancel(op);
    if (start(h, &code, &op) < 0 || !lh_test_run_until_set(loop, &called))
        return WRONG;
    if (code != LH_E_UNAVAILABLE)
        return WRONG;
    lh_http_free(h);
    lh_loop_free(loop);
    return now_ms() - begin > 2000 ? LATE : 0;
}

static void giving_up_does_not_wait_for_the_resolver(void **state)
{
    int64_t begin = now_ms();
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(lh_test_scratch_new(&dir), 0);
    assert_int_equal(lh_test_write(dir.fd, "resolv.conf",
                                   "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n"),
                     0);
    pid = fork();
    if (pid == 0)
        _exit(cancels_at_once());
    assert_true(waitpid(pid, &status, 0) == pid);
    lh_test_scratch_done(&dir);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(now_ms() - begin < 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(giving_up_does_not_wait_for_the_resolver),
    };

    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
