/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken has no key twice, no token outside a secret, and names that are single folders. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csi_wire.h"
#include "leasehold/core/mem.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_folder(const char *z)
{
    return *z && strcmp(z, ".") != 0 && strcmp(z, "..") != 0 && !strchr(z, '/');
}

static void check_context(const struct csi_publish *p)
{
    for (size_t i = 0; i < p->n_context; i++) {
        if (strcmp(p->context[i].key, CSI_TOKENS_KEY) == 0)
            abort();
        for (size_t k = 0; k < i; k++) {
            if (strcmp(p->context[i].key, p->context[k].key) == 0)
                abort();
        }
    }
}

static void publish(struct lh_str bytes)
{
    struct csi_publish p = {0};
    struct node_request r = {0};
    struct lh_err err = {0};

    if (csi_decode_publish(bytes, &p, &err) < 0) {
        if (!err.msg[0] || p.volume_id)
            abort();
        return;
    }
    check_context(&p);
    if (node_request_read(&p, &r, &err) < 0) {
        if (!err.msg[0] || r.pod)
            abort();
    } else if (!p.readonly || !is_folder(p.volume_id) || !is_folder(r.target.volume) ||
               !is_folder(r.target.pod_uid) || strcmp(r.target.pod_uid, r.pod_uid) != 0 ||
               !is_folder(r.projection)) {
        abort();
    }
    csi_publish_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str bytes = {(const char *)data, size};
    struct csi_volume v = {0};
    char *text = NULL;
    bool ok = false;

    publish(bytes);
    if (csi_decode_unpublish(bytes, &v, NULL) == 0)
        csi_volume_done(&v);
    if (csi_decode_stats(bytes, &v, NULL) == 0)
        csi_volume_done(&v);
    if (csi_decode_registered(bytes, &ok, &text, NULL) == 0)
        lh_free(text);
    return 0;
}
