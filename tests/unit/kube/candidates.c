/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "candidates.h"
#include "leasehold/core/mem.h"

struct candidate a, b;
static int64_t last_term; /* won by anybody */
bool term_came_back;

static void on_won(void *arg, int64_t term)
{
    struct candidate *c = arg;

    c->won++;
    c->term = term;
    term_came_back |= term <= last_term;
    last_term = term;
    if (c->free_when_won)
        lh_election_free(LH_TAKE_PTR(c->e));
}

static void on_lost(void *arg)
{
    struct candidate *c = arg;

    c->lost++;
    if (c->free_when_lost)
        lh_election_free(LH_TAKE_PTR(c->e));
}

void on_released(void *arg)
{
    ((struct candidate *)arg)->released++;
}

int candidates_setup(void **state)
{
    (void)state;
    a = b = (struct candidate){0};
    last_term = 0;
    term_came_back = false;
    if (bed_setup() < 0)
        return -1;
    a.kube = bed_client("a");
    b.kube = bed_client("b");
    return a.kube && b.kube ? 0 : -1;
}

int candidates_teardown(void **state)
{
    (void)state;
    lh_election_free(a.e);
    lh_election_free(b.e);
    lh_kube_free(a.kube);
    lh_kube_free(b.kube);
    bed_teardown();
    return 0;
}

static void on_noted(void *arg)
{
    ((struct candidate *)arg)->noted++;
}

void stand(struct candidate *c, const char *identity)
{
    const struct lh_election_options opts = {.kube = c->kube,
                                             .namespace_ = "ops",
                                             .name = "leader",
                                             .identity = identity,
                                             .won = on_won,
                                             .lost = on_lost,
                                             .noted = on_noted,
                                             .arg = c};
    struct lh_err err = {0};

    if (lh_election_start(&opts, &c->e, &err) < 0)
        fail_msg("%s", err.msg);
}

void put_lease(const char *spec)
{
    lh_auto_free char *json =
        lh_asprintf("{\"metadata\":{\"name\":\"leader\",\"namespace\":\"ops\"}%s%s}",
                    *spec ? ",\"spec\":" : "", spec);

    fake_api_put(bed.api, LEASES, json);
}

const lh_json *spec(void)
{
    return lh_json_get(fake_api_get(bed.api, LEASES, "ops", "leader"), "spec");
}

bool leads(void *arg)
{
    return lh_election_is_leader(((struct candidate *)arg)->e);
}

bool leads_not(void *arg)
{
    return !leads(arg);
}

bool is_released(void *arg)
{
    return ((struct candidate *)arg)->released > 0;
}

lh_ms await_leader(struct candidate *c)
{
    lh_ms from = lh_clock_now();

    if (!bed_pass_until(leads, c))
        fail_msg("leads not; trouble: %s", lh_election_trouble(c->e));
    return lh_clock_now() - from;
}

void lead(struct candidate *c, const char *identity)
{
    stand(c, identity);
    assert_false(lh_election_is_leader(c->e));
    await_leader(c);
}

void cut_off(const char *agent, bool stall)
{
    const struct fake_api_fault gone = {.agent = agent, .stall = stall};

    fake_api_fault(bed.api, &gone);
}
