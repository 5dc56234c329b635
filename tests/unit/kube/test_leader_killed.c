/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A controller in small: an object wants one effect outside. It is held by a finalizer and recorded
 * before it is made; it is undone before the finalizer goes. The leader is killed at every turn of
 * the loop while it does that: whoever follows ends it, and nothing is lost or done twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/apply.h"
#include "leasehold/kube/elect.h"

#define WANTED  "leasehold.dev/v1alpha1/secretprojections"
#define EFFECTS "outside.test/v1/effects"
#define FIN     "leasehold.dev/undo"

enum { TURNS = 50, STEP_MS = 50 }; /* a kill a turn; a leader needs fewer to be done */

static const struct lh_kube_resource wanted = {"leasehold.dev", "v1alpha1", "secretprojections",
                                               "shop",          "db",       NULL};
static const struct lh_kube_resource wanted_status = {
    "leasehold.dev", "v1alpha1", "secretprojections", "shop", "db", "status"};

static struct leader {
    const char *name;
    struct lh_kube *kube;
    struct lh_election *e;
    int64_t term; /* that it works in */
    bool idle;    /* it found nothing to do */
} a, b;

static void look(struct leader *l);

/* Nothing goes out in a term that is over. */
static bool may_write(struct leader *l)
{
    return l->e && l->term > 0 && lh_election_term(l->e) == l->term;
}

/* Whatever came of the last step, the object tells what the next one is. */
static void on_step(void *arg, const lh_json *obj, const struct lh_err *err)
{
    (void)obj;
    (void)err;
    look(arg);
}

static void tell_status(struct leader *l, const char *status)
{
    lh_auto_free char *text = lh_asprintf(
        "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretProjection\",\"metadata\":{"
        "\"name\":\"db\"},\"status\":%s}",
        status);
    lh_auto_json lh_json *obj = NULL;

    if (lh_json_parse(lh_str(text), NULL, &obj, NULL) == 0)
        lh_kube_apply(l->kube, &wanted_status, "leasehold", true, obj, on_step, l, NULL, NULL);
}

static void on_made(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct leader *l = arg;

    (void)obj;
    if (err && err->code != LH_E_CONFLICT)
        look(l);
    else if (may_write(l))
        tell_status(l, "{\"recorded\":\"yes\",\"made\":\"yes\"}");
}

/* Under the uid of what wants it: one that was made is there, and is not made twice. */
static void make_effect(struct leader *l, const char *uid)
{
    const struct lh_kube_resource res = {"outside.test", "v1", "effects", NULL, NULL, NULL};
    lh_auto_free char *text = lh_asprintf("{\"metadata\":{\"name\":\"%s\"}}", uid);
    lh_auto_json lh_json *obj = NULL;

    if (lh_json_parse(lh_str(text), NULL, &obj, NULL) == 0)
        lh_kube_start(l->kube, "POST", &res, NULL, NULL, obj, 0, on_made, l, NULL, NULL);
}

static void on_undone(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct leader *l = arg;

    (void)obj;
    /* Only what is known to be undone lets go of its object. */
    if (err)
        look(l);
    else if (may_write(l))
        tell_status(l, "{\"recorded\":\"yes\",\"undone\":\"yes\"}");
}

static void undo_effect(struct leader *l, const char *uid)
{
    const struct lh_kube_resource res = {"outside.test", "v1", "effects", NULL, uid, NULL};

    lh_kube_delete(l->kube, &res, NULL, NULL, on_undone, l, NULL, NULL);
}

/* One step, chosen by what is there. */
static void step(struct leader *l, const lh_json *obj)
{
    const lh_json *meta = lh_json_get(obj, "metadata"), *status = lh_json_get(obj, "status");
    const char *uid = lh_json_get_z(meta, "uid");
    bool held = lh_json_len(lh_json_get(meta, "finalizers")) > 0;

    if (lh_json_get(meta, "deletionTimestamp")) {
        if (lh_json_get(status, "undone"))
            lh_kube_finalizer(l->kube, &wanted, obj, FIN, false, on_step, l, NULL, NULL);
        else
            undo_effect(l, uid);
        return;
    }
    if (!held)
        lh_kube_finalizer(l->kube, &wanted, obj, FIN, true, on_step, l, NULL, NULL);
    else if (!lh_json_get(status, "recorded"))
        tell_status(l, "{\"recorded\":\"yes\"}");
    else if (!lh_json_get(status, "made"))
        make_effect(l, uid);
    else
        l->idle = true;
}

static void on_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct leader *l = arg;

    if (err)
        l->idle = err->code == LH_E_NOTFOUND;
    else if (may_write(l))
        step(l, obj);
}

static void look(struct leader *l)
{
    if (may_write(l))
        lh_kube_start(l->kube, "GET", &wanted, NULL, NULL, NULL, 0, on_read, l, NULL, NULL);
}

static void on_won(void *arg, int64_t term)
{
    struct leader *l = arg;

    l->term = term;
    l->idle = false;
    look(l);
}

static void stand(struct leader *l, const char *name)
{
    const struct lh_election_options opts = {.namespace_ = "ops",
                                             .name = "leader",
                                             .identity = name,
                                             .kube = l->kube = bed_client(name),
                                             .won = on_won,
                                             .arg = l};

    assert_non_null(l->kube);
    assert_int_equal(lh_election_start(&opts, &l->e, NULL), 0);
}

/* As by SIGKILL: what it had sent may still arrive. */
static void kill_leader(struct leader *l)
{
    lh_election_free(l->e);
    lh_kube_free(l->kube);
    *l = (struct leader){0};
}

static int setup(void **state)
{
    (void)state;
    a = b = (struct leader){0};
    return bed_setup();
}

static int teardown(void **state)
{
    (void)state;
    kill_leader(&a);
    kill_leader(&b);
    bed_teardown();
    return 0;
}

static bool is_idle(void *arg)
{
    return ((struct leader *)arg)->idle;
}

static void turn(void)
{
    lh_clock_step(STEP_MS);
    lh_loop_turn(bed.loop, 0);
}

/* The same object, with as little as a user writes. */
static void want(void)
{
    fake_api_put(bed.api, WANTED,
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"uid\":\"u-1\"}}");
}

static void start_leader(struct leader *l, const char *name)
{
    stand(l, name);
    while (l->term == 0)
        turn();
}

static void killed_while_it_makes_the_effect(void **state)
{
    bool done_before = false;

    (void)state;
    for (int n = 0; n < TURNS; n++) {
        want();
        start_leader(&a, "a");
        for (int i = 0; i < n; i++)
            turn();
        done_before = a.idle;
        kill_leader(&a);
        stand(&b, "b");
        assert_true(bed_pass_until(is_idle, &b));
        assert_int_equal(fake_api_happened(bed.api, EFFECTS, "ADDED"), 1);
        assert_int_equal(fake_api_happened(bed.api, EFFECTS, "DELETED"), 0);
        assert_non_null(fake_api_get(bed.api, EFFECTS, NULL, "u-1"));
        assert_string_equal(
            lh_json_get_z(lh_json_get(fake_api_get(bed.api, WANTED, "shop", "db"), "status"),
                          "made"),
            "yes");
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
    }
    assert_true(done_before); /* the kills went through all of it */
}

static void on_deleted(void *arg, const lh_json *obj, const struct lh_err *err)
{
    (void)arg;
    (void)obj;
    (void)err;
}

static void killed_while_it_undoes_the_effect(void **state)
{
    bool done_before = false;

    (void)state;
    for (int n = 0; n < TURNS; n++) {
        want();
        start_leader(&a, "a");
        assert_true(bed_pass_until(is_idle, &a));
        assert_int_equal(
            lh_kube_delete(bed.kube, &wanted, NULL, NULL, on_deleted, NULL, NULL, NULL), 0);
        while (!lh_json_path(fake_api_get(bed.api, WANTED, "shop", "db"), "metadata",
                             "deletionTimestamp", NULL))
            turn();
        a.idle = false;
        look(&a);
        for (int i = 0; i < n; i++) {
            turn();
            /* Gone is only what left nothing behind. */
            assert_true(fake_api_get(bed.api, WANTED, "shop", "db") ||
                        !fake_api_get(bed.api, EFFECTS, NULL, "u-1"));
        }
        done_before = a.idle;
        kill_leader(&a);
        stand(&b, "b");
        assert_true(bed_pass_until(is_idle, &b));
        assert_null(fake_api_get(bed.api, WANTED, "shop", "db"));
        assert_null(fake_api_get(bed.api, EFFECTS, NULL, "u-1"));
        assert_int_equal(fake_api_happened(bed.api, EFFECTS, "ADDED"), 1);
        assert_int_equal(fake_api_happened(bed.api, EFFECTS, "DELETED"), 1);
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
    }
    assert_true(done_before);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(killed_while_it_makes_the_effect),
        CASE(killed_while_it_undoes_the_effect),
    };

    if (lh_http_global_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests_name("leader that is killed", tests, NULL, NULL);
}
