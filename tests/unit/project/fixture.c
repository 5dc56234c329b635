/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"
#include "leasehold/core/fs.h"

const struct lh_pub_file old_set[3] = {
    FILE_OF("a", 0440, "old a"),
    FILE_OF("d/b", 0440, "old b"),
    FILE_OF("d/sub/c", 0444, ""),
};
const struct lh_pub_file new_set[3] = {
    FILE_OF("a", 0440, "a new a, longer than the old"),
    FILE_OF("d/b", 0440, "old b"),
    FILE_OF("e/f", 0400, "new f"),
};

struct lh_test_scratch dir;
struct lh_publisher *pub;

int setup(void **state)
{
    (void)state;
    if (lh_test_scratch_new(&dir) < 0)
        return -1;
    return lh_publisher_new(dir.fd, (gid_t)-1, &pub, NULL);
}

int teardown(void **state)
{
    (void)state;
    lh_fs_fail_at(0, 0);
    lh_mem_fail_at(0);
    lh_publisher_free(pub);
    pub = NULL;
    lh_test_scratch_done(&dir);
    umask(022);
    return 0;
}

bool publish(const struct lh_pub_file *files, size_t n)
{
    bool changed = false;

    assert_int_equal(lh_publish(pub, files, n, &changed, NULL), 0);
    return changed;
}

bool shows(const struct lh_pub_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        lh_auto_free char *p = NULL;
        size_t len;

        if (lh_fs_read_at(dir.fd, files[i].path, 1 << 20, &p, &len, NULL) < 0 ||
            len != files[i].bytes.n || memcmp(p, files[i].bytes.p, len) != 0 ||
            fstatat(dir.fd, files[i].path, &st, 0) < 0 || (st.st_mode & 07777) != files[i].mode)
            return false;
    }
    return true;
}

static bool in_set(const struct lh_pub_file *files, size_t n, const char *top)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(files[i].path, "/");

        if (strlen(top) == len && strncmp(files[i].path, top, len) == 0)
            return true;
    }
    return false;
}

bool is_tidy(const struct lh_pub_file *files, size_t n)
{
    DIR *d = opendir(dir.path);
    const struct dirent *e;
    int generations = 0;
    bool ok = true;

    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "..data") == 0)
            continue;
        if (strncmp(e->d_name, "..", 2) == 0)
            generations++;
        else if (!in_set(files, n, e->d_name))
            ok = false;
    }
    if (d)
        closedir(d);
    return ok && generations == 1;
}
