/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_prove.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "audit_gather.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"

enum { RANDOM = 24, REMOVALS = 6, FIRST_PAUSE_MS = 250 };

/* Whether the Secret is there. MAYBE: the answer to its creation got lost. */
enum made { NOT_MADE, MAYBE_MADE, MADE };

struct proving {
    struct audit *audit;
    struct lh_loop *loop;
    const struct audit_proving *with;
    char name[64], value[2 * RANDOM + 24];
    char *coded; /* value in base64 */
    enum made made;
    bool told_to_stop;
    /* one step */
    struct lh_kube_op *op;
    struct lh_etcd_scan *scan;
    bool done, found, read_back;
    struct lh_err err;
};

static void on_signal(void *arg, int signo)
{
    struct proving *p = arg;

    (void)signo;
    p->told_to_stop = true;
}

static void on_answer(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct proving *p = arg;
    struct lh_str got = {0};

    p->done = true;
    p->op = NULL;
    if (err)
        p->err = *err;
    else if (lh_json_str(lh_json_path(obj, "data", "value", NULL), &got))
        p->read_back = lh_str_eqz(got, p->coded);
}

/* patient: the step is one whose end has to be known. */
static int wait(struct proving *p, bool patient, struct lh_err *err)
{
    while (!p->done && (patient || !p->told_to_stop))
        lh_loop_turn(p->loop, -1);
    lh_kube_cancel(p->op);
    lh_etcd_scan_cancel(p->scan);
    p->op = NULL;
    p->scan = NULL;
    if (!p->done)
        return lh_err_set(err, LH_E_GONE, "stopped by a signal");
    if (!p->err.code)
        return 0;
    if (err)
        *err = p->err;
    return lh_err_negative(-p->err.code);
}

static int ask(struct proving *p, const char *method, const lh_json *body, bool patient,
               struct lh_err *err)
{
    const struct lh_kube_resource res = {.group = "",
                                         .version = "v1",
                                         .resource = "secrets",
                                         .namespace_ = p->with->namespace_,
                                         .name = body ? NULL : p->name};
    int rc;

    p->done = p->read_back = false;
    p->err = (struct lh_err){0};
    rc = lh_kube_start(p->with->kube, method, &res, NULL, NULL, body, p->with->timeout_ms,
                       on_answer, p, &p->op, err);
    return rc < 0 ? rc : wait(p, patient, err);
}

static lh_json *manifest(const struct proving *p)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *meta = lh_json_new_object(), *labels = lh_json_new_object();
    lh_json *data = lh_json_new_object();
    int rc = 0;

    rc |= lh_json_set(labels, "app.kubernetes.io/managed-by", lh_json_new_z("leasehold-audit"));
    rc |= lh_json_set(meta, "name", lh_json_new_z(p->name));
    rc |= lh_json_set(meta, "labels", labels);
    rc |= lh_json_set(data, "value", lh_json_new_z(p->coded));
    rc |= lh_json_set(o, "apiVersion", lh_json_new_z("v1"));
    rc |= lh_json_set(o, "kind", lh_json_new_z("Secret"));
    rc |= lh_json_set(o, "metadata", meta);
    rc |= lh_json_set(o, "data", data);
    return rc < 0 ? NULL : LH_TAKE_PTR(o);
}

static int make(struct proving *p, struct lh_err *err)
{
    lh_auto_json lh_json *body = NULL;
    lh_auto_buf struct lh_buf coded;
    uint8_t random[RANDOM];
    char hex[2 * RANDOM + 1];
    struct lh_err why = {0};
    int rc;

    lh_rand_bytes(random, sizeof(random));
    lh_hex(random, 6, hex);
    snprintf(p->name, sizeof(p->name), "leasehold-audit-canary-%.12s", hex);
    lh_hex(random, sizeof(random), hex);
    snprintf(p->value, sizeof(p->value), "leasehold-canary-%s", hex);
    lh_buf_init(&coded, 2 * sizeof(p->value));
    lh_base64_put(&coded, p->value, strlen(p->value));
    rc = lh_buf_finish(&coded, &p->coded, NULL, err);
    if (rc < 0)
        return rc;
    body = manifest(p);
    if (!body)
        return lh_err_nomem(err);
    rc = ask(p, "POST", body, true, &why);
    p->made = rc == 0 ? MADE : why.sent && why.http_status == 0 ? MAYBE_MADE : NOT_MADE;
    if (rc < 0 && err)
        *err = why;
    return rc < 0 ? lh_err_wrap(err, rc, "canary Secret") : 0;
}

static bool stands_in(const struct lh_etcd_entry *e, const char *text)
{
    return memmem(e->value.p, e->value.n, text, strlen(text)) != NULL;
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    struct proving *p = arg;
    struct audit_value v;
    struct audit_path path;
    struct audit_group *g = &p->audit->canary;

    if (p->found || !audit_path_parse(e->key, lh_str(p->with->prefix), &path) ||
        !lh_str_eqz(path.name, p->name))
        return;
    p->found = true;
    audit_value_of(e, &v);
    /* Whatever the prefix says: what can be read is in plain text. */
    if (stands_in(e, p->value) || stands_in(e, p->coded))
        v.protection = AUDIT_NONE;
    audit_group_done(g);
    if (audit_group_init(g, &path, &v, &p->err) < 0)
        return;
    g->count = 1;
    g->newest = v.revision;
}

static void on_restarted(void *arg)
{
    ((struct proving *)arg)->found = false;
}

static void on_scanned(void *arg, const struct lh_etcd_scanned *result, const struct lh_err *err)
{
    struct proving *p = arg;

    (void)result;
    p->done = true;
    p->scan = NULL;
    if (err)
        p->err = *err;
}

static int find(struct proving *p, struct lh_err *err)
{
    lh_auto_free char *key = NULL;
    struct lh_str prefix = lh_str(p->with->prefix);
    struct lh_etcd_scan_options o = {
        .max_value = SIZE_MAX, .entry = on_entry, .restarted = on_restarted};
    int rc;

    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    key = lh_asprintf("%.*s/secrets/%s/%s", (int)prefix.n, prefix.p, p->with->namespace_, p->name);
    if (!key)
        return lh_err_nomem(err);
    o.prefix = key;
    p->done = false;
    p->err = (struct lh_err){0};
    rc = lh_etcd_scan_start(p->with->etcd, &o, on_scanned, p, &p->scan, err);
    if (rc == 0)
        rc = wait(p, false, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "canary Secret in etcd");
    if (!p->found)
        return lh_err_set(err, LH_E_INVALID,
                          "the canary Secret is not in this etcd: it is another cluster's, or "
                          "--etcd-prefix is not %s",
                          p->with->prefix);
    return 0;
}

static int read_back(struct proving *p, struct lh_err *err)
{
    int rc = ask(p, "GET", NULL, false, err);

    if (rc < 0)
        return lh_err_wrap(err, rc, "canary Secret, read back");
    if (!p->read_back)
        return lh_err_set(err, LH_E_INVALID, "the canary Secret came back with another value");
    return 0;
}

static void on_time(void *arg)
{
    *(bool *)arg = true;
}

static void pause_for(struct proving *p, lh_ms ms)
{
    struct lh_timer *t = NULL;
    bool over = false;

    if (lh_timer_new(p->loop, on_time, &over, &t, NULL) < 0)
        return;
    lh_timer_in(t, ms);
    while (!over)
        lh_loop_turn(p->loop, -1);
    lh_timer_free(t);
}

/* What may have been made is looked for until the last try: its creation may be late. */
static int clear(struct proving *p, struct lh_err *err)
{
    struct lh_err why = {0};
    lh_ms pause = FIRST_PAUSE_MS;
    int rc = 0;

    for (int i = 0; i < REMOVALS; i++) {
        rc = ask(p, "DELETE", NULL, true, &why);
        if (rc == 0 || (rc == -LH_E_NOTFOUND && p->made == MADE))
            return 0;
        if (i < REMOVALS - 1)
            pause_for(p, pause);
        pause *= 2;
    }
    if (rc == -LH_E_NOTFOUND)
        return 0;
    return lh_err_set(err, why.code, "Secret %s/%s could not be removed, remove it: %.300s",
                      p->with->namespace_, p->name, why.msg);
}

static int run(struct proving *p, struct lh_err *err)
{
    struct lh_err worse = {0};
    int rc = make(p, err), cleared;

    if (rc == 0)
        rc = find(p, err);
    if (rc == 0)
        rc = read_back(p, err);
    cleared = p->made == NOT_MADE ? 0 : clear(p, &worse);
    if (cleared < 0) {
        if (err)
            *err = worse;
        return cleared;
    }
    if (rc == 0 && p->told_to_stop)
        return lh_err_set(err, LH_E_GONE, "stopped by a signal");
    return rc;
}

int audit_prove(struct audit *a, struct lh_loop *loop, const struct audit_proving *with,
                struct lh_err *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct proving p = {.audit = a, .loop = loop, .with = with};
    struct lh_signal *held[LH_ARRAY_LEN(signals)] = {NULL};
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(signals) && rc == 0; i++)
        rc = lh_signal_new(loop, signals[i], on_signal, &p, &held[i], err);
    if (rc == 0)
        rc = run(&p, err);
    for (size_t i = 0; i < LH_ARRAY_LEN(signals); i++)
        lh_signal_free(held[i]);
    lh_free(p.coded);
    a->proved = rc == 0;
    return rc;
}
