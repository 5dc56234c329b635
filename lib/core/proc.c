/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/str.h"

/* What a Pod's author could use to make libraries log keys, load code or send us elsewhere. */
static bool is_hostile(struct lh_str name)
{
    static const char *const exact[] = {"SSLKEYLOGFILE", "GLIBC_TUNABLES", "NETRC", NULL};
    static const char *const prefixes[] = {"OPENSSL_", "MALLOC_", "LD_", "CURL_", NULL};
    static const char *const suffixes[] = {"_proxy", "_PROXY", NULL};

    for (size_t i = 0; exact[i]; i++) {
        if (lh_str_eqz(name, exact[i]))
            return true;
    }
    for (size_t i = 0; prefixes[i]; i++) {
        if (lh_str_starts(name, lh_str(prefixes[i])))
            return true;
    }
    for (size_t i = 0; suffixes[i]; i++) {
        if (lh_str_ends(name, lh_str(suffixes[i])))
            return true;
    }
    return false;
}

static int clean_environment(struct lh_err *err)
{
    size_t i = 0;

    while (environ && environ[i]) {
        struct lh_str name, value;
        lh_auto_free char *z = NULL;

        lh_str_cut(lh_str(environ[i]), '=', &name, &value);
        if (!is_hostile(name)) {
            i++;
            continue;
        }
        z = lh_str_dup(name);
        if (!z)
            return lh_err_nomem(err);
        if (unsetenv(z) < 0) /* moves the next one to i */
            return lh_err_os(err, errno, "drop %s from the environment", z);
    }
    return 0;
}

int lh_proc_harden(struct lh_err *err)
{
    struct rlimit none = {0, 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return lh_err_os(err, errno, "forbid core files");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return lh_err_os(err, errno, "forbid core dumps and tracing");
    if (sigaction(SIGPIPE, &ignore, NULL) < 0)
        return lh_err_os(err, errno, "ignore SIGPIPE");
    umask(077);
    return clean_environment(err);
}

/* The content of /proc/PID/FILE, cut to size, terminated; length or -1. */
static ssize_t read_proc(int proc, pid_t pid, const char *file, char *buf, size_t size)
{
    char path[64];
    lh_auto_fd int fd = -1;
    ssize_t n;

    snprintf(path, sizeof(path), "%d/%s", (int)pid, file);
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, buf, size - 1);
    if (n < 0)
        return -1;
    buf[n] = '\0';
    return n;
}

static bool has_name(int proc, pid_t pid, const char *name)
{
    char text[4096], *base;

    /* Kernel threads and zombies have no arguments: nobody there would act on a signal. */
    if (read_proc(proc, pid, "cmdline", text, sizeof(text)) <= 0)
        return false;
    base = strrchr(text, '/');
    if (strcmp(base ? base + 1 : text, name) == 0)
        return true;
    /* Scripts and processes that rewrite their arguments keep their name here, 15 bytes of it. */
    if (strlen(name) > 15 || read_proc(proc, pid, "comm", text, sizeof(text)) <= 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    return strcmp(text, name) == 0;
}

/* By a process descriptor, so that a number that is used again meanwhile hits nobody. 1 sent, 0
 * not this one, -errno. */
static int signal_if_named(int proc, pid_t pid, const char *name, int signo)
{
    lh_auto_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    long rc;

    if (fd < 0 && errno != ENOSYS && errno != EPERM)
        return 0;
    if (!has_name(proc, pid, name))
        return 0;
    rc = fd >= 0 ? syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) : kill(pid, signo);
    if (rc < 0)
        return errno == ESRCH ? 0 : -errno;
    return 1;
}

static pid_t parse_pid(const char *text)
{
    long long v;

    return lh_str_to_i64(lh_str(text), 1, 1 << 30, &v) ? (pid_t)v : 0;
}

int lh_proc_signal_by_name(const char *name, int signo, unsigned *count, struct lh_err *err)
{
    DIR *d = opendir("/proc");
    unsigned sent = 0;
    int refused = 0;
    struct dirent *e;

    if (!d)
        return lh_err_os(err, errno, "open /proc");
    while ((e = readdir(d))) {
        pid_t pid = parse_pid(e->d_name);
        int rc;

        if (pid == 0 || pid == getpid())
            continue;
        rc = signal_if_named(dirfd(d), pid, name, signo);
        if (rc > 0)
            sent++;
        else if (rc < 0)
            refused = -rc;
    }
    closedir(d);
    if (sent == 0 && refused == EPERM)
        return lh_err_set(err, LH_E_DENIED,
                          "process %s runs as another user and may not be signalled", name);
    if (sent == 0 && refused)
        return lh_err_os(err, refused, "signal process %s", name);
    if (sent == 0)
        return lh_err_set(err, LH_E_NOTFOUND, "no process named %s runs here", name);
    *count = sent;
    return 0;
}

int lh_proc_signal_number(const char *name)
{
    long long v;

    if (lh_str_to_i64(lh_str(name), 1, 64, &v))
        return (int)v;
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int i = 1; i < 32; i++) {
        const char *abbrev = sigabbrev_np(i);

        if (abbrev && strcmp(abbrev, name) == 0)
            return i;
    }
    return 0;
}

static size_t kib_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);

    return at ? (size_t)strtoull(at + strlen(label), NULL, 10) * 1024 : 0;
}

void lh_proc_memory(size_t *anonymous, size_t *resident)
{
    lh_auto_free char *text = NULL;
    size_t n;

    *anonymous = 0;
    *resident = 0;
    if (lh_fs_read_at(AT_FDCWD, "/proc/self/smaps_rollup", 65536, &text, &n, NULL) < 0)
        return;
    *anonymous = kib_after(text, "\nAnonymous:");
    *resident = kib_after(text, "\nRss:");
}
