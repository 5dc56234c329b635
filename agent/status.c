/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/serve/observe.h"

enum { TEXT_MAX = 1024 * 1024 };

struct agent_status {
    struct lh_engine *engine;
    struct lh_observe observe;
    struct lh_server *server;
};

static void measure(void *arg)
{
    const struct agent_status *s = arg;

    lh_engine_measure(s->engine);
}

static void put_status(void *arg, struct lh_buf *b)
{
    const struct agent_status *s = arg;
    lh_auto_json lh_json *status = lh_engine_status(s->engine);

    lh_json_write(status, LH_JSON_PRETTY, b);
}

static bool is_ready(void *arg, struct lh_buf *why)
{
    const struct agent_status *s = arg;

    if (lh_engine_is_ready(s->engine))
        return true;
    lh_engine_cause(s->engine, why);
    return false;
}

int agent_status_new(struct lh_loop *loop, struct lh_engine *engine, unsigned port,
                     struct agent_status **out, struct lh_err *err)
{
    struct agent_status *s = lh_calloc(1, sizeof(*s));
    char address[16];
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->engine = engine;
    s->observe = (struct lh_observe){.loop = loop,
                                     .arg = s,
                                     .text_max = TEXT_MAX,
                                     .measure = measure,
                                     .status = put_status,
                                     .ready = is_ready};
    snprintf(address, sizeof(address), ":%u", port);
    rc = lh_server_new(loop, &s->server, err);
    if (rc == 0)
        rc = lh_observe_listen(s->server, address, &s->observe, err);
    if (rc < 0) {
        agent_status_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void agent_status_free(struct agent_status *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
