/* SPDX-License-Identifier: Apache-2.0 */
/* What a volume looks like from outside; changes nothing. */
#include <string.h>

#include "leasehold/api/reasons.h"
#include "volume.h"

void volume_cause(const struct volume *v, struct lh_buf *b)
{
    const struct volume_slot *s = &v->slot[v->cur];

    if (s->engine && !s->ending && !s->complete)
        lh_engine_cause(s->engine, b);
    if (lh_buf_peek(b).n == 0 && v->err.code)
        lh_buf_printf(b, "%s: %s", v->err.reason ? v->err.reason : LH_REASON_InternalError,
                      v->err.msg);
}

bool volume_is(const struct volume *v, const struct node_request *r)
{
    return strcmp(v->pod_uid, r->pod_uid) == 0 && strcmp(v->name, r->target.volume) == 0 &&
           strcmp(v->namespace_, r->namespace_) == 0 &&
           strcmp(v->service_account, r->service_account) == 0 &&
           strcmp(v->projection, r->projection) == 0 && v->gid == r->gid;
}

const char *volume_state_name(const struct volume *v)
{
    const struct volume_slot *s = &v->slot[v->cur];

    if (v->leaving)
        return v->unmounted ? "revoking" : "ending";
    if (v->published)
        return "published";
    return s->complete ? "mounting" : s->engine ? "fetching" : "waiting";
}

struct lh_engine *volume_engine(const struct volume *v)
{
    return v->slot[v->cur].ending ? NULL : v->slot[v->cur].engine;
}
