/* SPDX-License-Identifier: Apache-2.0 */
/* A file of etcd's data folder that says anything: searching ends, finds no more than fits, and
 * finds what is put behind it. */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leftovers_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char put[] = "\n\x16/registry/secrets/a/b!\x12\x14k8s\0\n\x0c\n\x02v1\x12\x06Secret..";

static uint64_t search(int fd, const struct lh_leftover_keys *keys, enum lh_leftover_place place,
                       size_t size)
{
    struct lh_leftovers l;
    uint64_t n = 0, sum = 0;

    lh_leftovers_init(&l);
    assert(lh_leftovers_fd(&l, fd, "fuzz", keys, place, NULL) == 0);
    for (int p = 0; p < LH_LEFTOVER_PLACES; p++)
        n += l.plain[p];
    for (size_t i = 0; i < l.groups.n; i++) {
        const struct lh_leftover *g = lh_vec_at(&l.groups, i);

        sum += g->count;
        for (const char *c = g->name; *c; c++)
            assert(*c > ' ' && *c <= '~');
    }
    assert(n <= sum && sum <= size / 4 + 1);
    assert(l.groups.n <= LH_LEFTOVER_MAX_GROUPS);
    assert(l.damaged + l.unread == 0 || l.first_fault[0]);
    lh_leftovers_done(&l);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_leftover_keys keys = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    uint64_t before;

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    assert(lh_leftover_keys_init(&keys, "/registry", NULL) == 0);
    search(fd, &keys, LH_LEFTOVER_FREE, size);
    before = search(fd, &keys, LH_LEFTOVER_LOG, size);
    /* A byte between, so that what stands at the end is no number that goes on. */
    assert(write(fd, "", 1) == 1 && write(fd, put, sizeof(put) - 1) == (ssize_t)sizeof(put) - 1);
    assert(search(fd, &keys, LH_LEFTOVER_LOG, size + sizeof(put)) == before + 1);
    lh_leftover_keys_done(&keys);
    close(fd);
    return 0;
}
