/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <stdio.h>

#include "leasehold/core/rand.h"

enum { STEP_MS = 50 };

struct harness h;

static int on_values(void *arg, struct lh_grant *g, const struct lh_prov_read *r,
                     struct lh_err *err)
{
    struct slot *s = lh_grant_user(g);

    (void)arg;
    if (h.refuse_code)
        return lh_err_set(err, h.refuse_code, "cannot be rendered");
    snprintf(s->pending, sizeof(s->pending), "%s", lh_json_get_z(r->data, "username"));
    s->has_pending = true;
    return 0;
}

static void on_changed(void *arg)
{
    bool any = false;

    (void)arg;
    for (size_t i = 0; i < h.n; i++)
        any = any || h.slots[i].has_pending;
    if (!any || h.stall || !lh_session_set_complete(h.s))
        return;
    for (size_t i = 0; i < h.n; i++) {
        struct slot *s = &h.slots[i];

        if (!s->has_pending)
            continue;
        s->changes += strcmp(s->shown, s->pending) != 0;
        memcpy(s->shown, s->pending, sizeof(s->shown));
        s->has_pending = false;
    }
    h.publications++;
    if (h.published_at == 0)
        h.published_at = lh_clock_now();
    lh_session_published(h.s);
}

static void on_count(void *arg, enum lh_lease_event ev, const char *reason)
{
    (void)arg;
    (void)reason;
    h.unconfirmed += ev == LH_EV_UNCONFIRMED;
    h.failures += ev == LH_EV_FAILURE;
}

void h_session(void)
{
    struct lh_session_options o = {
        .loop = h.loop,
        .provider = &fake_provider_ops,
        .store = h.store,
        .identity = &h.identity,
        .revoke = !h.retain,
        .once = h.once,
        .parallel = h.parallel,
        .events = {.values = on_values, .changed = on_changed, .count = on_count}};
    struct lh_err err;

    lh_session_free(h.s);
    h.s = NULL;
    h.n = 0;
    assert_int_equal(lh_session_new(&o, &h.s, &err), 0);
}

static void make_store(const char *auth, int64_t verify_ms)
{
    char text[512];
    lh_json *obj = NULL;
    struct lh_err err = {0};

    snprintf(text, sizeof(text),
             "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":"
             "{\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":"
             "[\"https://vault.example:8200\"],\"auth\":{%s}},\"verify\":\"%lldms\"}}",
             strcmp(auth, "token") == 0
                 ? "\"token\":{\"secretRef\":{\"name\":\"t\",\"key\":\"token\"}}"
                 : "\"appRole\":{\"mount\":\"approle\",\"roleId\":\"r\",\"secretIdRef\":"
                   "{\"name\":\"t\",\"key\":\"id\"}}",
             (long long)(verify_ms ? verify_ms : 120000));
    if (lh_json_parse(lh_str(text), NULL, &obj, &err) < 0 ||
        lh_store_parse(obj, "test", &h.store, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    lh_json_unref(obj);
    assert_non_null(h.store);
}

void h_new(const char *auth, int64_t verify_ms)
{
    make_store(auth, verify_ms);
    h_session();
}

struct slot *h_add(const char *path, int64_t refresh_ms, int64_t overlap_ms, bool optional)
{
    struct slot *s = &h.slots[h.n];
    struct lh_grant_spec spec = {.path = path,
                                 .refresh_ms = refresh_ms,
                                 .overlap_ms = overlap_ms,
                                 .optional = optional,
                                 .user = s};
    struct lh_err err;

    assert_true(h.n < H_MAX_GRANTS);
    s->has_pending = false;
    s->pending[0] = '\0';
    assert_int_equal(lh_session_add(h.s, &spec, &s->g, &err), 0);
    if (lh_grant_user(s->g) == s)
        h.n++;
    return lh_grant_user(s->g);
}

void h_start(void)
{
    lh_session_start(h.s);
}

static void probe_all(void)
{
    for (size_t i = 0; i < h.n; i++) {
        if (h.slots[i].shown[0] && !fake_works(h.slots[i].shown))
            h.slots[i].dead_ms += h.step_ms;
    }
}

void h_run(int64_t ms)
{
    for (int64_t t = 0; t < ms; t += h.step_ms) {
        lh_clock_step(h.step_ms);
        /* A chain of answers of 1 ms each fits into one step. */
        for (int i = 0; i < 4; i++)
            lh_loop_turn(h.loop, 0);
        probe_all();
    }
}

void h_run_published(int64_t limit_ms)
{
    for (int64_t t = 0; t < limit_ms && h.published_at == 0; t += h.step_ms)
        h_run(h.step_ms);
    assert_true(h.published_at != 0);
}

static void on_ended(void *arg)
{
    *(bool *)arg = true;
}

void h_end(bool revoke)
{
    h.ended = false;
    lh_session_end(h.s, revoke, 1500, on_ended, &h.ended);
    for (int i = 0; i < 100 && !h.ended; i++)
        h_run(h.step_ms);
    assert_true(h.ended);
}

int h_setup(void **state)
{
    struct lh_err err;

    (void)state;
    memset(&h, 0, sizeof(h));
    h.step_ms = STEP_MS;
    lh_clock_fake(1000000, 1700000000000);
    lh_rand_seed(42);
    fake_reset();
    return lh_loop_new(&h.loop, &err);
}

int h_teardown(void **state)
{
    (void)state;
    lh_session_free(h.s);
    lh_store_unref(h.store);
    lh_loop_free(h.loop);
    lh_clock_real();
    return 0;
}
