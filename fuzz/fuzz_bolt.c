/* SPDX-License-Identifier: Apache-2.0 */
/* A database that says anything: a walk ends, stays inside the file, and hands nothing over twice.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bolt.h"
#include "pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char key_bytes;

static uint64_t walk(const struct lh_bolt *b, const char *bucket, uint64_t *bytes)
{
    struct lh_bolt_faults faults = {0};
    struct lh_bolt_cursor *c = NULL;
    struct lh_bolt_item item;
    uint64_t n = 0;

    if (lh_bolt_cursor_new(b, bucket, &faults, &c, NULL) < 0 || !c)
        return 0;
    while (lh_bolt_cursor_prev(c, &item, NULL) > 0) {
        struct lh_etcd_entry e;

        for (size_t i = 0; i < item.key.n; i++) /* all of it may be read */
            key_bytes ^= (unsigned char)item.key.p[i];
        if (lh_etcd_entry_parse(item.value, &e))
            assert(e.key.n + e.value.n <= item.value.n);
        *bytes += item.value.n;
        n++;
    }
    assert(faults.pages + faults.entries == 0 || faults.first[0] != '\0');
    lh_bolt_cursor_free(c);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct lh_bolt b;
    uint64_t bytes = 0, n;

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    if (lh_bolt_open(fd, &b, NULL) == 0) {
        /* Each page serves once, so there are no more elements than heads of elements fit. */
        n = walk(&b, "key", &bytes);
        assert(n <= size / 16);
        n = walk(&b, NULL, &bytes);
        assert(n <= size / 16);
        walk(&b, "meta", &bytes);
    }
    close(fd);
    return 0;
}
