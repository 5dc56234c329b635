/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken is the packet itself, and its names are single folders. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_folder(const char *z, size_t size)
{
    return memchr(z, '\0', size) && *z && *z != '.' && !strchr(z, '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_mount_request r;
    const char *why = NULL;

    if (lh_mount_request_check(data, size, &r, &why) != 0) {
        if (!why)
            abort();
        return 0;
    }
    if (why || size != sizeof(r) || memcmp(&r, data, size) != 0)
        abort();
    if ((r.verb == LH_MOUNT_MOUNT || r.verb == LH_MOUNT_UNMOUNT || r.verb == LH_MOUNT_OPEN) &&
        (!is_folder(r.pod_uid, sizeof(r.pod_uid)) || !is_folder(r.volume, sizeof(r.volume))))
        abort();
    return 0;
}
