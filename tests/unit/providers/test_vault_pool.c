/* SPDX-License-Identifier: Apache-2.0 */
/* Who shares a client, and that one who leaves takes nothing from the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "leasehold/core/mem.h"
#include "vault_priv.h"
#include "world.h"

static struct lh_provider *other;
static struct lh_store *edited;

static int teardown(void **state)
{
    if (other)
        lh_provider_vault.close(other);
    other = NULL;
    lh_store_unref(edited);
    edited = NULL;
    return world_teardown(state);
}

static int open_other(struct lh_store *store, const struct lh_identity *id)
{
    return lh_provider_vault.open(w.loop, store, id, &other, &w.out.err);
}

static void identities_of_one_store_share(void **state)
{
    struct lh_identity id;

    (void)state;
    assert_int_equal(world_open(NULL), 0);
    id = w.id;
    id.subject.service_account = "other";
    assert_int_equal(open_other(w.store, &id), 0);
    assert_ptr_equal(other->http, w.p->http);
}

static void whoever_stays_can_go_on(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(open_other(w.store, &w.id), 0);
    assert_int_equal(world_health(), 0);
    lh_provider_vault.close(other);
    other = NULL;
    assert_int_equal(world_health(), 0);
}

static void another_policy_of_addresses_does_not(void **state)
{
    static const char *const addresses[] = {"127.0.0.0/8", NULL};
    struct lh_identity id;

    (void)state;
    assert_int_equal(world_open(NULL), 0);
    id = w.id;
    id.allow_addresses = addresses;
    assert_int_equal(open_other(w.store, &id), 0);
    assert_ptr_not_equal(other->http, w.p->http);
}

static void copy_store(const char *verify)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *meta = lh_json_new_object(), *spec = lh_json_deep_copy(w.store->spec);

    if (verify)
        lh_json_set(spec, "verify", lh_json_new_z(verify));
    lh_json_set(meta, "name", lh_json_new_z(w.store->name));
    if (w.store->namespace_)
        lh_json_set(meta, "namespace", lh_json_new_z(w.store->namespace_));
    lh_json_set(o, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1"));
    lh_json_set(o, "kind", lh_json_new_z(lh_store_kind(w.store)));
    lh_json_set(o, "metadata", meta);
    lh_json_set(o, "spec", spec);
    assert_int_equal(lh_store_parse(o, NULL, &edited, &w.out.err), 0);
}

static void a_store_that_was_read_again_does(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    copy_store(NULL);
    assert_ptr_not_equal(edited, w.store);
    assert_int_equal(open_other(edited, &w.id), 0);
    assert_ptr_equal(other->http, w.p->http);
}

static void an_edited_store_does_not(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    copy_store("7m");
    assert_int_equal(open_other(edited, &w.id), 0);
    assert_ptr_not_equal(other->http, w.p->http);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, world_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(identities_of_one_store_share),
        T(whoever_stays_can_go_on),
        T(another_policy_of_addresses_does_not),
        T(a_store_that_was_read_again_does),
        T(an_edited_store_does_not),
    };

    return cmocka_run_group_tests_name("vault_pool", tests, NULL, NULL);
}
