/* SPDX-License-Identifier: Apache-2.0 */
#include "revision.h"

enum { REVISION_BYTES = 17 };

uint64_t lh_etcd_be64(const char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

bool lh_revision_parse(struct lh_str key, struct lh_revision *out)
{
    if (key.n != REVISION_BYTES && key.n != REVISION_BYTES + 1)
        return false;
    if (key.p[8] != '_' || (key.n > REVISION_BYTES && key.p[REVISION_BYTES] != 't'))
        return false;
    *out = (struct lh_revision){(int64_t)lh_etcd_be64(key.p), (int64_t)lh_etcd_be64(key.p + 9),
                                key.n > REVISION_BYTES};
    return out->main >= 0 && out->sub >= 0;
}
