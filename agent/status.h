/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_STATUS_H
#define LEASEHOLD_AGENT_STATUS_H

/*
 * GET /metrics, /status (JSON, no values), /healthz and /readyz on a port of its own. Made only
 * when a port is asked for: libwebsockets is the loop's host then, and without it nothing wakes the
 * agent between timers.
 */
#include "leasehold/engine/engine.h"

struct agent_status;

int agent_status_new(struct lh_loop *loop, struct lh_engine *engine, unsigned port,
                     struct agent_status **out, struct lh_err *err);
void agent_status_free(struct agent_status *s); /* NULL is a no-op */

#endif
