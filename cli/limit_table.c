/* SPDX-License-Identifier: Apache-2.0 */
#include "limit_table.h"

#include "audit.h"
#include "leasehold/api/agentcfg.h"
#include "leasehold/api/allow.h"
#include "leasehold/api/projection.h"
#include "leasehold/http/client.h"
#include "leasehold/inject/inject.h"
#include "leasehold/render/render.h"
#include "leasehold/serve/server.h"

#define DENIED  "denied at admission, with the annotation and what would be right"
#define REFUSED "the object is refused, with field and line"
#define KEPT    "error with a reason; the last good secrets stay"

const struct cli_limit cli_limits[] = {
    {"admission request", LH_ADMISSION_MAX, CLI_LIMIT_BYTES, "HTTP 413"},
    {"depth of an admission request", LH_ADMISSION_DEPTH, CLI_LIMIT_COUNT, "denied, `TooLarge`"},
    {"agent configuration", LH_AGENTCFG_MAX, CLI_LIMIT_BYTES,
     "denied, `ConfigTooLarge`, with the largest item"},
    {"path of a secret", LH_PATH_MAX, CLI_LIMIT_BYTES, DENIED},
    {"items of a projection, or secrets of a Pod", LH_ITEMS_MAX, CLI_LIMIT_COUNT, REFUSED},
    {"files of a projection, or of a Pod", LH_FILES_MAX, CLI_LIMIT_COUNT, REFUSED},
    {"template of one file", LH_TEMPLATE_MAX, CLI_LIMIT_BYTES, "denied, `TooLarge`"},
    {"content of one file", LH_RENDER_FILE_BYTES, CLI_LIMIT_BYTES, "`TooLarge`; " KEPT},
    {"answer of the manager", LH_HTTP_ANSWER_MAX, CLI_LIMIT_BYTES, "`TooLarge`; " KEPT},
    {"requests in flight of one store and process", LH_HTTP_IN_FLIGHT, CLI_LIMIT_COUNT,
     "queued in order; `spec.limits.maxInFlight` changes it"},
    {"connections of a server", LH_SERVER_CONNECTIONS, CLI_LIMIT_COUNT, "closed, and counted"},
    {"audit: namespaces and keys told apart, of all kinds", AUDIT_MAX_GROUPS, CLI_LIMIT_COUNT,
     "counted together as `(others)`, and said"},
    {"audit: data keys told apart", AUDIT_MAX_SEEDS, CLI_LIMIT_COUNT,
     "said, and P10 says more than"},
    {"audit: workloads", AUDIT_MAX_WORKLOADS, CLI_LIMIT_COUNT,
     "said; checks that need all of them are `not-proven`"},
    {NULL, 0, CLI_LIMIT_COUNT, NULL},
};

void cli_limit_put(struct lh_buf *b, const struct cli_limit *l)
{
    if (l->unit == CLI_LIMIT_BYTES && l->most % (1024 * 1024) == 0)
        lh_buf_printf(b, "%zu MiB", l->most / (1024 * 1024));
    else if (l->unit == CLI_LIMIT_BYTES && l->most % 1024 == 0)
        lh_buf_printf(b, "%zu KiB", l->most / 1024);
    else
        lh_buf_printf(b, "%zu", l->most);
}
