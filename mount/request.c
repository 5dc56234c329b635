/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Terminated, and nothing behind the end. */
static bool is_text(const char *p, size_t size)
{
    size_t n = strnlen(p, size);

    if (n == size)
        return false;
    for (; n < size; n++) {
        if (p[n])
            return false;
    }
    return true;
}

/* A name that can only be one folder: it starts with a letter or digit, so it is neither "." nor
 * "..", and it holds no "/". */
static bool is_name(const char *z, const char *also)
{
    if (!is_alnum(z[0]))
        return false;
    for (; *z; z++) {
        if (!is_alnum(*z) && !strchr(also, *z))
            return false;
    }
    return true;
}

static bool is_context(const char *z)
{
    for (; *z; z++) {
        if (!is_alnum(*z) && !strchr("_.:,-", *z))
            return false;
    }
    return true;
}

static int refuse(int os, const char **why, const char *text)
{
    *why = text;
    return os;
}

int lh_mount_request_check(const void *packet, size_t n, struct lh_mount_request *out,
                           const char **why)
{
    struct lh_mount_request r;

    if (n != sizeof(r))
        return refuse(EPROTO, why, "a request has another size");
    memcpy(&r, packet, sizeof(r));
    if (r.version != LH_MOUNT_VERSION)
        return refuse(EPROTO, why, "another version: both containers must be of one image");
    if (r.verb < LH_MOUNT_MOUNT || r.verb > LH_MOUNT_STATE)
        return refuse(EPROTO, why, "no such verb");
    if (!is_text(r.pod_uid, sizeof(r.pod_uid)) || !is_text(r.volume, sizeof(r.volume)) ||
        !is_text(r.context, sizeof(r.context)))
        return refuse(EPROTO, why, "a text is not terminated and zero-filled");
    if (r.verb == LH_MOUNT_MOUNT || r.verb == LH_MOUNT_UNMOUNT || r.verb == LH_MOUNT_OPEN) {
        if (!is_name(r.pod_uid, "-"))
            return refuse(EINVAL, why, "pod_uid must be letters, digits and -");
        if (!is_name(r.volume, "-."))
            return refuse(EINVAL, why, "volume must be letters, digits, - and .");
    }
    if (r.verb == LH_MOUNT_MOUNT) {
        if (r.bytes < 1 || r.bytes > LH_MOUNT_BYTES_MAX)
            return refuse(EINVAL, why, "bytes must be 1 to 1 GiB");
        if (r.inodes < 1 || r.inodes > LH_MOUNT_INODES_MAX)
            return refuse(EINVAL, why, "inodes must be 1 to 65536");
        if (r.gid < LH_MOUNT_NO_GID || r.gid >= (int64_t)UINT_MAX)
            return refuse(EINVAL, why, "gid must be -1 (none) to 4294967294");
        if (!is_context(r.context))
            return refuse(EINVAL, why, "context is not an SELinux context");
    }
    *out = r;
    return 0;
}
