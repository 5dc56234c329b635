/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_SERVE_OBSERVE_H
#define LEASEHOLD_SERVE_OBSERVE_H

/*
 * What every program serves of itself on a port of its own: GET /metrics, /status (JSON), /healthz
 * and /readyz. No values, whoever asks.
 */
#include "leasehold/core/buf.h"
#include "leasehold/serve/server.h"

struct lh_observe {
    struct lh_loop *loop; /* its slow turns are measured */
    void *arg;            /* to each below */
    size_t text_max;      /* longest answer in bytes; one that is longer is answered 500 */
    /* Sets the gauges that are known only when somebody asks; NULL: none. */
    void (*measure)(void *arg);
    /* Appends a JSON document; NULL: /status is 404. */
    void (*status)(void *arg, struct lh_buf *b);
    /* Append one line that says why not; healthy NULL: always, ready NULL: /readyz is 404. */
    bool (*healthy)(void *arg, struct lh_buf *why);
    bool (*ready)(void *arg, struct lh_buf *why);
};

/* Registers lh_process_metrics and listens. o is borrowed until the server is freed. Fails as
 * lh_server_listen does, and may then be called again. */
int lh_observe_listen(struct lh_server *s, const char *address, const struct lh_observe *o,
                      struct lh_err *err);

#endif
