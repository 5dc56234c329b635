/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "probe.h"

#define PROBE_MAX ((size_t)4096)

int probe_write(const char *state_path, bool ready, struct lh_str cause, struct lh_err *err)
{
    lh_auto_fd int dir = lh_fs->openat(AT_FDCWD, state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    lh_auto_buf struct lh_buf b;
    struct lh_str s;
    int rc;

    if (dir < 0)
        return lh_err_os(err, errno, "open %s", state_path);
    lh_buf_init(&b, PROBE_MAX);
    lh_buf_put_z(&b, ready ? "ready\n" : "waiting\n");
    lh_buf_put_str(&b, cause);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    s = lh_buf_peek(&b);
    return lh_fs_replace_at(dir, PROBE_FILE, 0600, s.p, s.n, err);
}

int probe_ask(const char *state_path)
{
    lh_auto_fd int dir = lh_fs->openat(AT_FDCWD, state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    lh_auto_free char *text = NULL;
    struct lh_str first, cause;
    struct lh_err err = {0};
    size_t n = 0;

    if (dir < 0 || lh_fs_read_at(dir, PROBE_FILE, PROBE_MAX, &text, &n, &err) < 0) {
        printf("Starting: the agent has not reported yet\n");
        return 1;
    }
    lh_str_cut((struct lh_str){text, n}, '\n', &first, &cause);
    if (lh_str_eqz(first, "ready"))
        return 0;
    printf("%.*s\n", (int)cause.n, cause.p);
    return 1;
}
