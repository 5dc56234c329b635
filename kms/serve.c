/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <errno.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/serve/observe.h"

enum { TEXT_MAX = 256 * 1024, TAKEN_AGAIN_MS = 250 };

struct kms_serve {
    const struct kms_service *service;
    const char *address;
    struct lh_observe observe;
    struct lh_server *server;
    struct lh_timer *again; /* while the address is another's */
    bool told;
};

static void measure(void *arg)
{
    const struct kms_serve *s = arg;

    kms_service_measure(s->service);
}

static void put_status(void *arg, struct lh_buf *b)
{
    const struct kms_serve *s = arg;

    kms_service_status(s->service, b);
}

static bool is_ready(void *arg, struct lh_buf *why)
{
    const struct kms_serve *s = arg;

    lh_buf_put_z(why, "the key was not confirmed yet");
    return kms_service_is_ready(s->service);
}

static int listen_now(struct kms_serve *s, struct lh_err *err)
{
    return lh_observe_listen(s->server, s->address, &s->observe, err);
}

/* The plugin that we follow has it until it ends, and a call of the API server is not to wait for
 * that. */
static bool is_taken(const struct lh_err *err)
{
    return err->code == LH_E_OS && err->os == EADDRINUSE;
}

static void wait_for_address(struct kms_serve *s)
{
    if (!s->told)
        lh_log_warn("metrics wait for their address: another process has it",
                    LH_F_STR("address", s->address));
    s->told = true;
    lh_timer_in(s->again, TAKEN_AGAIN_MS);
}

static void on_again(void *arg)
{
    struct kms_serve *s = arg;
    struct lh_err err = {0};

    if (listen_now(s, &err) == 0)
        lh_log_info("metrics have their address", LH_F_STR("address", s->address));
    else
        wait_for_address(s);
}

int kms_serve_new(struct lh_loop *loop, const struct kms_service *service, const char *address,
                  struct kms_serve **out, struct lh_err *err)
{
    struct kms_serve *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->service = service;
    s->address = address;
    s->observe = (struct lh_observe){.loop = loop,
                                     .arg = s,
                                     .text_max = TEXT_MAX,
                                     .measure = measure,
                                     .status = put_status,
                                     .ready = is_ready};
    rc = lh_server_new(loop, &s->server, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_again, s, &s->again, err);
    if (rc == 0)
        rc = listen_now(s, err);
    if (rc < 0 && s->again && is_taken(err)) {
        wait_for_address(s);
        rc = 0;
    }
    if (rc < 0) {
        kms_serve_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void kms_serve_free(struct kms_serve *s)
{
    if (!s)
        return;
    lh_timer_free(s->again);
    lh_server_free(s->server);
    lh_free(s);
}
