/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a YAML Pod. What is injected applies, gives a Pod of distinct names, and a second
 * run changes nothing; what is denied has a sentence with a known reason.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "leasehold/inject/inject.h"
#include "leasehold/render/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char store_text[] =
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: SecretStore\n"
    "metadata: {name: vault, namespace: default}\n"
    "spec: {vault: {addresses: [\"https://vault.example\"], auth: {jwt: {role: r, audience: "
    "vault}}}}\n";

static struct lh_inject_world *world(void)
{
    static struct lh_inject_world w;
    static struct lh_store *store;
    struct lh_yaml_doc *docs = NULL;
    struct lh_policy *policy = NULL;
    size_t n = 0;

    if (store)
        return &w;
    lh_json_init();
    if (lh_yaml_parse(lh_str(store_text), "store", NULL, &docs, &n, NULL) < 0 ||
        lh_store_parse(docs[0].value, NULL, &store, NULL) < 0 ||
        lh_policy_default(&policy, NULL) < 0)
        abort();
    lh_yaml_free(docs, n);
    w = (struct lh_inject_world){
        .policy = policy, .stores = &store, .n_stores = 1, .check_template = lh_template_check};
    return &w;
}

static void check_problems(const struct lh_problems *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        char *text = lh_problem_text(&ps->v[i]);

        if (!text || (ps->v[i].deny && !ps->v[i].reason) ||
            (ps->v[i].reason && !lh_reason_find(ps->v[i].reason)))
            abort();
        lh_free(text);
    }
}

static void check_patch(const lh_json *object, const lh_json *patch)
{
    struct lh_problems ps = {0};
    lh_json *patched = NULL, *again = NULL;

    /* A member of another type than the API has makes a pointer that leads nowhere. */
    if (lh_jsonpatch_apply(object, patch, &patched, NULL) < 0)
        return;
    if (lh_inject_object(world(), patched, NULL, &again, &ps, NULL) < 0)
        abort();
    if (lh_json_len(again))
        abort();
    lh_json_unref(patched);
    lh_json_unref(again);
    lh_problems_done(&ps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0;

    world();
    if (lh_yaml_parse((struct lh_str){(const char *)data, size}, "pod", NULL, &docs, &n, NULL) < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        struct lh_problems ps = {0};
        lh_json *patch = NULL;

        if (lh_inject_object(world(), docs[i].value, NULL, &patch, &ps, NULL) == 0) {
            check_problems(&ps);
            if (patch && lh_problems_denial(&ps))
                abort();
            if (patch)
                check_patch(docs[i].value, patch);
        }
        lh_json_unref(patch);
        lh_problems_done(&ps);
    }
    lh_yaml_free(docs, n);
    return 0;
}
