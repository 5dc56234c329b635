/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "leasehold/core/mem.h"
#include "leasehold/serve/observe.h"
#include "metrics.h"

enum { TEXT_MAX = 16 * 1024 * 1024 };

/* A leader whose oldest work has been due for so long is stuck: liveness starts it anew. */
enum { STUCK_MS = 5 * 60 * 1000 };

struct cluster_serve {
    struct cluster_serve_options o;
    struct lh_observe observe;
    struct lh_server *server;
};

static void measure(void *arg)
{
    const struct cluster_serve *s = arg;

    cluster_metrics_sample(s->o.copies, !s->o.unready(s->o.arg));
}

static void put_status(void *arg, struct lh_buf *b)
{
    const struct cluster_serve *s = arg;
    lh_auto_json lh_json *o = lh_json_new_object();
    struct copies_count n;

    copies_count(s->o.copies, &n);
    lh_json_set(o, "leader", lh_json_new_bool(lh_election_is_leader(s->o.election)));
    lh_json_set(o, "holder", lh_json_new_z(lh_election_holder(s->o.election)));
    lh_json_set(o, "term", lh_json_new_int(lh_election_term(s->o.election)));
    lh_json_set(o, "deletionsHeld",
                n.breaker.open ? lh_json_new_z(n.breaker.id) : lh_json_new_null());
    lh_json_set(o, "drain",
                n.drain == LH_DRAIN_NOT ? lh_json_new_null()
                                        : lh_json_new_z(lh_drain_word(n.drain)));
    lh_json_set(o, "copies", copies_status(s->o.copies));
    lh_json_write(o, LH_JSON_PRETTY, b);
}

static bool is_healthy(void *arg, struct lh_buf *why)
{
    const struct cluster_serve *s = arg;
    struct copies_count n;

    copies_count(s->o.copies, &n);
    lh_buf_put_z(why, "work has been due for too long");
    return n.oldest < 0 || lh_clock_now() - n.oldest <= STUCK_MS;
}

static bool is_ready(void *arg, struct lh_buf *why)
{
    const struct cluster_serve *s = arg;
    const char *unready = s->o.unready(s->o.arg);

    if (unready)
        lh_buf_put_z(why, unready);
    return !unready;
}

int cluster_serve_new(const struct cluster_serve_options *o, struct cluster_serve **out,
                      struct lh_err *err)
{
    struct cluster_serve *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->o = *o;
    s->observe = (struct lh_observe){.loop = o->loop,
                                     .arg = s,
                                     .text_max = TEXT_MAX,
                                     .measure = measure,
                                     .status = put_status,
                                     .healthy = is_healthy,
                                     .ready = is_ready};
    rc = lh_server_new(o->loop, &s->server, err);
    if (rc == 0)
        rc = lh_observe_listen(s->server, o->address, &s->observe, err);
    if (rc < 0) {
        cluster_serve_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void cluster_serve_free(struct cluster_serve *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
