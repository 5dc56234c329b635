/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "listen.h"
#include "support.h"

static struct lh_test_scratch scratch;
static char path[KMS_PATH_MAX], control[KMS_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    if (lh_test_scratch_new(&scratch) < 0)
        return -1;
    snprintf(path, sizeof(path), "%.80s/kms.sock", scratch.path);
    snprintf(control, sizeof(control), "%.80s/control", scratch.path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_test_scratch_done(&scratch);
    return 0;
}

static int try_connect(const char *to)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", to);
    rc = connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ? errno : 0;
    close(fd);
    return rc;
}

static void a_socket_is_for_its_owner_alone_and_goes_with_us(void **state)
{
    struct kms_listener l = {.fd = -1};
    struct stat st;

    (void)state;
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(try_connect(path), 0);
    kms_listen_end(&l);
    assert_int_equal(try_connect(path), ENOENT);
}

static void what_a_dead_process_left_is_replaced(void **state)
{
    struct kms_listener l = {.fd = -1}, again = {.fd = -1};

    (void)state;
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), 0);
    close(l.fd); /* without taking the path away */
    assert_int_equal(try_connect(path), ECONNREFUSED);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &again, NULL), 0);
    assert_int_equal(try_connect(path), 0);
    l.fd = -1;
    kms_listen_end(&l); /* the old one's end does not touch the new one's path */
    assert_int_equal(try_connect(path), 0);
    kms_listen_end(&again);
}

static void a_socket_that_is_served_is_left_alone(void **state)
{
    struct kms_listener l = {.fd = -1}, second = {.fd = -1};

    (void)state;
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), 0);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &second, NULL), -LH_E_CONFLICT);
    assert_int_equal(second.fd, -1);
    assert_int_equal(try_connect(path), 0);
    kms_listen_end(&l);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    struct kms_listener l = {.fd = -1};

    (void)state;
    assert_int_equal(lh_test_write(scratch.fd, "kms.sock", "precious"), 0);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), -LH_E_INVALID);
    assert_true(lh_test_file_is(scratch.fd, "kms.sock", "precious"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), -LH_E_INVALID);
}

static void a_folder_that_all_may_write_to_will_not_do(void **state)
{
    struct kms_listener l = {.fd = -1};

    (void)state;
    assert_int_equal(chmod(scratch.path, 0777), 0);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), -LH_E_DENIED);
    assert_int_equal(chmod(scratch.path, 01777), 0);
    assert_int_equal(kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL), 0);
    kms_listen_end(&l);
}

static void odd_paths_are_refused(void **state)
{
    struct kms_listener l = {.fd = -1};
    char deep[256];

    (void)state;
    memset(deep, 'x', sizeof(deep) - 1);
    deep[0] = '/';
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(kms_listen("@abstract", SOCK_STREAM, 0, &l, NULL), -LH_E_INVALID);
    assert_int_equal(kms_listen("relative.sock", SOCK_STREAM, 0, &l, NULL), -LH_E_INVALID);
    assert_int_equal(kms_listen("/tmp/", SOCK_STREAM, 0, &l, NULL), -LH_E_INVALID);
    assert_int_equal(kms_listen(deep, SOCK_STREAM, 0, &l, NULL), -LH_E_INVALID);
    assert_int_equal(kms_listen("/nowhere-at-all/x", SOCK_STREAM, 0, &l, NULL), -LH_E_OS);
}

static void nothing_inherited_is_said(void **state)
{
    struct kms_listener l = {.fd = -1};

    (void)state;
    unsetenv("LISTEN_PID");
    assert_int_equal(kms_listen_inherited(&l, NULL), -LH_E_INVALID);
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(kms_listen_inherited(&l, NULL), -LH_E_INVALID); /* meant for another */
}

static void a_holder_hands_its_socket_to_one_after_the_other(void **state)
{
    struct kms_listener a = {.fd = -1}, b = {.fd = -1};
    struct stat st;
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(kms_listen_from_holder(control, &a, NULL), -LH_E_UNAVAILABLE);
    child = fork();
    if (child == 0)
        _exit(kms_hold(path, control, geteuid(), NULL) < 0);
    for (int i = 0; i < 5000 && kms_listen_from_holder(control, &a, NULL) < 0; i++)
        usleep(1000); /* the child is another process: nothing to wait on but its socket */
    assert_true(a.fd >= 0);
    assert_int_equal(kms_listen_from_holder(control, &b, NULL), 0);
    kms_listen_end(&a);
    kms_listen_end(&b);
    assert_int_equal(try_connect(path), 0); /* nobody serves, nobody is refused */
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(stat(path, &st), -1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_socket_is_for_its_owner_alone_and_goes_with_us),
        T(what_a_dead_process_left_is_replaced),
        T(a_socket_that_is_served_is_left_alone),
        T(what_is_no_socket_is_left_alone),
        T(a_folder_that_all_may_write_to_will_not_do),
        T(odd_paths_are_refused),
        T(nothing_inherited_is_said),
        T(a_holder_hands_its_socket_to_one_after_the_other),
    };

    lh_log_init("test", LH_LOG_OFF, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
