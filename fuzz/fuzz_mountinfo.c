/* SPDX-License-Identifier: Apache-2.0 */
/* A mount point that was read is written with escapes and read again to the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/buf.h"
#include "mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct lh_mount_entry *e)
{
    struct lh_mount_entry back;
    struct lh_buf b;
    struct lh_str s;
    char *line;

    lh_buf_init(&b, (size_t)1 << 20);
    lh_buf_printf(&b, "%llu 1 0:1 / ", (unsigned long long)e->id);
    for (size_t i = 0; i < e->point.n; i++)
        lh_buf_printf(&b, "\\%03o", (unsigned char)e->point.p[i]);
    lh_buf_printf(&b, " rw %s- tmpfs %s rw", e->is_shared ? "shared:1 " : "",
                  e->is_ours ? LH_MOUNT_SOURCE : "x");
    s = lh_buf_peek(&b);
    line = malloc(s.n);
    if (!line)
        abort();
    memcpy(line, s.p, s.n);
    if (!lh_mount_entry_parse(line, s.n, &back) || !lh_str_eq(back.point, e->point) ||
        back.id != e->id || back.is_ours != e->is_ours || back.is_shared != e->is_shared)
        abort();
    free(line);
    lh_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char uid[LH_MOUNT_POD_UID], volume[LH_MOUNT_VOLUME];
    struct lh_mount_entry e;
    char *line = malloc(size ? size : 1);

    if (!line)
        abort();
    memcpy(line, data, size);
    if (size < 65536 && lh_mount_entry_parse(line, size, &e)) {
        if (lh_mount_entry_volume(&e, LH_STR("/p"), uid, volume) &&
            (!uid[0] || !volume[0] || strchr(uid, '/') || strchr(volume, '/')))
            abort();
        again(&e);
    }
    free(line);
    return 0;
}
