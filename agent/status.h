/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_STATUS_H
#define LEASEHOLD_AGENT_STATUS_H

/* /status, /metrics and /healthz of one agent, when a port is set. */
#include "leasehold/engine/engine.h"
#include "leasehold/serve/server.h"

extern const struct lh_metric agent_metrics[];

/* *out becomes the loop's host: free it before the loop. engine is borrowed. */
int status_serve(struct lh_loop *loop, int port, struct lh_engine *engine, struct lh_server **out,
                 struct lh_err *err);

#endif
