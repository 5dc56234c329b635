/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ca_material.h"
#include "certs.h"
#include "leasehold/codec/base64.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/backoff.h"
#include "leasehold/kube/watch.h"
#include "metrics.h"

#define REQUEST_MS 10000

enum { SECRET, MUTATING, VALIDATING, WATCHED };

struct own_ca {
    struct own_ca_options o;
    char *namespace_, *name, *service, *configuration;
    struct lh_watch *watch[WATCHED];
    lh_json *seen[WATCHED]; /* last state of each object; NULL: not there */
    struct lh_timer *timer;
    struct lh_kube_op *op; /* one write at a time */
    struct lh_backoff backoff;
    char *served; /* leaf handed out */
    bool trusted;
    int64_t trusted_since_ms;
};

static void step(struct own_ca *c);

static struct lh_kube_resource secret_resource(const struct own_ca *c)
{
    return (struct lh_kube_resource){"", "v1", "secrets", c->namespace_, c->name, NULL};
}

static struct lh_kube_resource configuration_resource(const struct own_ca *c, int which)
{
    return (struct lh_kube_resource){"admissionregistration.k8s.io",
                                     "v1",
                                     which == MUTATING ? "mutatingwebhookconfigurations"
                                                       : "validatingwebhookconfigurations",
                                     NULL,
                                     c->configuration,
                                     NULL};
}

static void failed(struct own_ca *c, const char *what, const struct lh_err *err)
{
    lh_ms wait = lh_backoff_next(&c->backoff, err->retry_ms);

    lh_metric_add(&webhook_metrics[WEBHOOK_CERT_FAILURES], 1, LH_LABELS());
    lh_log_warn(what, LH_F_INT("retry_ms", wait), LH_F_ERR(err));
    lh_timer_in(c->timer, wait);
}

/* A write ended. The watch brings its effect; a conflict means that another replica was first. */
static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct own_ca *c = arg;

    (void)obj;
    c->op = NULL;
    if (err && err->code != LH_E_CONFLICT) {
        failed(c, "certificate not written", err);
        return;
    }
    lh_backoff_reset(&c->backoff);
    /* If the watch should be late: look again, and meet a conflict rather than a stale write. */
    lh_timer_in(c->timer, 1000);
}

static void write_secret(struct own_ca *c, enum ca_step due, struct ca_material *m)
{
    const struct lh_kube_resource res = secret_resource(c);
    lh_auto_json lh_json *body = NULL;
    struct lh_err err = {0};
    int rc = 0;

    if (due == CA_STEP_NEW_CA)
        rc = ca_material_new_ca(m, c->service, lh_clock_wall_ms(), &err);
    /* The first leaf comes with its CA: nobody trusts anything yet, so nothing has to settle. */
    if (rc == 0 && (due == CA_STEP_NEW_LEAF || !m->leaf))
        rc = ca_material_new_leaf(m, c->service, &err);
    if (rc == 0)
        rc = ca_material_write(m, c->seen[SECRET], &body, &err);
    /* PUT with the resourceVersion that was read: compare and swap. */
    if (rc == 0)
        rc = lh_kube_start(c->o.kube, "PUT", &res, NULL, NULL, body, REQUEST_MS, written, c, &c->op,
                           &err);
    if (rc < 0)
        failed(c, "certificate not made", &err);
    else
        lh_log_info(due == CA_STEP_NEW_CA ? "new CA" : "new certificate",
                    LH_F_STR("service", c->service));
}

static int bundle_base64(const struct ca_material *m, struct lh_buf *b, struct lh_err *err)
{
    lh_buf_init(b, (size_t)1024 * 1024);
    lh_base64_put(b, m->bundle, strlen(m->bundle));
    return lh_buf_check(b, err);
}

/* Patch operations for entries whose caBundle differs; *patch NULL: none does. */
static int bundle_patch(const lh_json *configuration, struct lh_str bundle, lh_json **patch,
                        struct lh_err *err)
{
    const lh_json *hooks = lh_json_get(configuration, "webhooks");
    const char *rv = lh_json_get_z(lh_json_get(configuration, "metadata"), "resourceVersion");
    lh_auto_json lh_json *p = lh_json_new_array();
    lh_auto_free char *path = NULL;
    struct lh_str have;
    bool differs = false;

    /* Not "test": the API server answers a test that fails with 422, a stale version with 409. */
    if (!p ||
        lh_jsonpatch_op(p, "replace", "/metadata/resourceVersion", lh_json_new_z(rv ? rv : "")) < 0)
        return lh_err_nomem(err);
    for (size_t i = 0; i < lh_json_len(hooks); i++) {
        const lh_json *at = lh_json_path(lh_json_at(hooks, i), "clientConfig", "caBundle", NULL);

        if (lh_json_str(at, &have) && lh_str_eq(have, bundle))
            continue;
        differs = true;
        lh_free(path);
        path = lh_asprintf("/webhooks/%zu/clientConfig/caBundle", i);
        if (!path || lh_jsonpatch_op(p, "add", path, lh_json_new_str(bundle)) < 0)
            return lh_err_nomem(err);
    }
    *patch = differs ? LH_TAKE_PTR(p) : NULL;
    return 0;
}

/* Writes the bundle where it is missing; 1 when every configuration has it, 0 when a write is under
 * way. */
static int spread_bundle(struct own_ca *c, const struct ca_material *m, struct lh_err *err)
{
    lh_auto_buf struct lh_buf bundle;
    int rc = bundle_base64(m, &bundle, err);

    for (int which = MUTATING; which <= VALIDATING && rc == 0; which++) {
        const struct lh_kube_resource res = configuration_resource(c, which);
        lh_auto_json lh_json *patch = NULL;

        if (!c->seen[which])
            return 0; /* its watch will tell */
        rc = bundle_patch(c->seen[which], lh_buf_peek(&bundle), &patch, err);
        if (rc < 0 || !patch)
            continue;
        rc = lh_kube_start(c->o.kube, "PATCH", &res, "fieldManager=leasehold-webhook",
                           "application/json-patch+json", patch, REQUEST_MS, written, c, &c->op,
                           err);
        return rc < 0 ? rc : 0;
    }
    return rc < 0 ? rc : 1;
}

static void serve_leaf(struct own_ca *c, struct ca_material *m)
{
    if (!m->leaf || (c->served && strcmp(c->served, m->leaf) == 0))
        return;
    if (!c->o.pair(c->o.arg, lh_str(m->leaf), m->leaf_key))
        return;
    lh_free(c->served);
    c->served = LH_TAKE_PTR(m->leaf);
}

static void trust(struct own_ca *c, bool now)
{
    if (now && !c->trusted)
        c->trusted_since_ms = lh_clock_wall_ms();
    c->trusted = now;
}

/* Level-triggered: from what was seen last to the one next write, or to the next time to look. */
static void step(struct own_ca *c)
{
    struct ca_material m = {0};
    struct ca_facts facts;
    struct lh_err err = {0};
    int64_t next = 0, now = lh_clock_wall_ms();
    enum ca_step due;
    int rc;

    if (c->op || !c->seen[SECRET])
        return;
    if (ca_material_read(c->seen[SECRET], &m, &err) < 0) {
        failed(c, "CA Secret not read", &err);
        return;
    }
    rc = m.bundle ? spread_bundle(c, &m, &err) : 0;
    if (rc < 0)
        failed(c, "caBundle not written", &err);
    trust(c, rc == 1);
    ca_material_facts(&m, &facts);
    facts.bundle_seen = c->trusted;
    facts.bundle_seen_ms = c->trusted_since_ms;
    due = c->op || rc < 0 ? CA_STEP_NONE : ca_plan(&facts, now, &next);
    if (due != CA_STEP_NONE)
        write_secret(c, due, &m);
    else if (next > now)
        lh_timer_in(c->timer, next - now);
    else if (!c->op && rc >= 0)
        lh_timer_in(c->timer, 1000);
    if (due == CA_STEP_NONE)
        serve_leaf(c, &m);
    ca_material_done(&m);
}

static void tick(void *arg)
{
    step(arg);
}

static void remember(struct own_ca *c, int which, enum lh_watch_event ev, const lh_json *obj)
{
    if (ev == LH_WATCH_UPSERT) {
        lh_json_unref(c->seen[which]);
        c->seen[which] = lh_json_deep_copy(obj);
    } else if (ev == LH_WATCH_DELETE) {
        lh_json_unref(c->seen[which]);
        c->seen[which] = NULL;
    } else if (ev == LH_WATCH_SYNCED && !c->seen[which]) {
        lh_log_error("object missing; the chart installs it",
                     LH_F_STR("name", which == SECRET ? c->o.secret : c->configuration));
    }
    step(c);
}

static void secret_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    (void)key;
    remember(arg, SECRET, ev, obj);
}

static void mutating_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    (void)key;
    remember(arg, MUTATING, ev, obj);
}

static void validating_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    (void)key;
    remember(arg, VALIDATING, ev, obj);
}

static int start_watches(struct own_ca *c, struct lh_err *err)
{
    static const lh_watch_fn events[WATCHED] = {secret_event, mutating_event, validating_event};
    int rc = 0;

    for (int i = 0; i < WATCHED && rc == 0; i++) {
        struct lh_watch_options w = {.res = i == SECRET ? secret_resource(c)
                                                        : configuration_resource(c, i)};

        rc = lh_watch_start(c->o.kube, &w, events[i], c, &c->watch[i], err);
    }
    return rc;
}

int own_ca_new(const struct own_ca_options *o, struct own_ca **out, struct lh_err *err)
{
    const char *slash = strchr(o->secret, '/');
    struct own_ca *c = lh_calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return lh_err_nomem(err);
    c->o = *o;
    c->backoff = (struct lh_backoff){.base_ms = 250, .cap_ms = 30000, .floor_ms = 50};
    c->namespace_ = slash ? lh_strndup(o->secret, (size_t)(slash - o->secret)) : NULL;
    c->name = slash ? lh_strdup(slash + 1) : NULL;
    c->service = lh_strdup(o->service);
    c->configuration = lh_strdup(o->configuration);
    if (!c->namespace_ || !c->name || !c->service || !c->configuration) {
        own_ca_free(c);
        return lh_err_nomem(err);
    }
    rc = lh_timer_new(o->loop, tick, c, &c->timer, err);
    if (rc == 0)
        rc = start_watches(c, err);
    if (rc < 0) {
        own_ca_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void own_ca_free(struct own_ca *c)
{
    if (!c)
        return;
    for (int i = 0; i < WATCHED; i++) {
        lh_watch_stop(c->watch[i]);
        lh_json_unref(c->seen[i]);
    }
    lh_kube_cancel(c->op);
    lh_timer_free(c->timer);
    lh_free(c->namespace_);
    lh_free(c->name);
    lh_free(c->service);
    lh_free(c->configuration);
    lh_free(c->served);
    lh_free(c);
}

bool own_ca_is_trusted(const struct own_ca *c)
{
    return c->trusted && c->served;
}
