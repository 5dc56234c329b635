/* SPDX-License-Identifier: Apache-2.0 */
/* A key or provider on its way through a configuration: added behind the writer, first, gone. */
#include <stdio.h>

#include "config_priv.h"
#include "leasehold/core/mem.h"

int lh_atrest_ref_parse(const char *text, struct lh_atrest_ref *out, struct lh_err *err)
{
    struct lh_atrest_ref r = {.scheme = LH_ATREST_FOREIGN};
    struct lh_str scheme, name;
    bool has_name = lh_str_cut(lh_str(text), ':', &scheme, &name);

    for (int s = LH_ATREST_IDENTITY; s < LH_ATREST_SCHEMES; s++)
        if (lh_str_eqz(scheme, lh_atrest_scheme_name((enum lh_atrest_scheme)s)))
            r.scheme = (enum lh_atrest_scheme)s;
    if (r.scheme == LH_ATREST_FOREIGN || has_name != (r.scheme != LH_ATREST_IDENTITY) ||
        (has_name && (name.n == 0 || name.n >= sizeof(r.name) || memchr(name.p, ':', name.n))))
        return lh_err_set(err, LH_E_INVALID,
                          "a key is named as secretbox:NAME, aesgcm:NAME, aescbc:NAME, kmsv2:NAME "
                          "or identity");
    if (has_name)
        memcpy(r.name, name.p, name.n);
    *out = r;
    return 0;
}

void lh_atrest_ref_print(const struct lh_atrest_ref *r, char out[320])
{
    snprintf(out, 320, "%s%s%s", lh_atrest_scheme_name(r->scheme), r->name[0] ? ":" : "", r->name);
}

bool lh_atrest_ref_equal(const struct lh_atrest_ref *a, const struct lh_atrest_ref *b)
{
    return a->scheme == b->scheme && strcmp(a->name, b->name) == 0;
}

bool lh_atrest_ref_opens(const struct lh_atrest_ref *r, const struct lh_atrest_value *v)
{
    return r->scheme == v->scheme && lh_str_eqz(v->name, r->name);
}

static void ref_of(const struct lh_atrest_provider *p, size_t key, struct lh_atrest_ref *out)
{
    const char *name = "";

    if (scheme_is_kms(p->scheme))
        name = p->name ? p->name : "";
    else if (key < p->keys.n && key_at(p, key)->name)
        name = key_at(p, key)->name;
    *out = (struct lh_atrest_ref){.scheme = p->scheme};
    snprintf(out->name, sizeof(out->name), "%s", name);
}

bool lh_atrest_rule_writer(const struct lh_atrest_rule *r, struct lh_atrest_ref *out)
{
    if (r->providers.n == 0)
        return false;
    ref_of(provider_at(r, 0), 0, out);
    return true;
}

/* Place of ref in the rule. */
static bool find(const struct lh_atrest_rule *r, const struct lh_atrest_ref *ref, size_t *provider,
                 size_t *key)
{
    struct lh_atrest_ref here;

    for (size_t i = 0; i < r->providers.n; i++) {
        const struct lh_atrest_provider *p = provider_at(r, i);

        for (size_t k = 0; k < (p->keys.n ? p->keys.n : 1); k++) {
            ref_of(p, k, &here);
            if (!lh_atrest_ref_equal(&here, ref))
                continue;
            *provider = i;
            *key = k;
            return true;
        }
    }
    return false;
}

bool lh_atrest_rule_has(const struct lh_atrest_rule *r, const struct lh_atrest_ref *ref)
{
    size_t provider, key;

    return find(r, ref, &provider, &key);
}

static void *insert(struct lh_vec *v, size_t at, const void *item)
{
    if (!lh_vec_push(v, item))
        return NULL;
    memmove((char *)v->p + (at + 1) * v->size, (char *)v->p + at * v->size,
            (v->n - 1 - at) * v->size);
    memcpy((char *)v->p + at * v->size, item, v->size);
    return (char *)v->p + at * v->size;
}

static int key_insert(struct lh_atrest_provider *p, size_t at, const char *name,
                      const struct lh_secret *key, struct lh_err *err)
{
    struct lh_atrest_key k = {.name = lh_strdup(name)};
    int rc = lh_secret_copy(lh_secret_expose_const(key), lh_secret_len(key), &k.secret, err);

    if (rc == 0 && (!k.name || !insert(&p->keys, at, &k)))
        rc = lh_err_nomem(err);
    if (rc < 0)
        lh_atrest_key_done(&k);
    return rc;
}

static int provider_new(const struct lh_atrest_ref *to, const struct lh_secret *key,
                        const char *endpoint, struct lh_atrest_provider *out, struct lh_err *err)
{
    struct lh_atrest_provider p = {.scheme = to->scheme, .cache_size = -1};
    int rc = 0;

    lh_vec_init(&p.keys, sizeof(struct lh_atrest_key));
    if (scheme_is_local(to->scheme)) {
        rc = key ? key_insert(&p, 0, to->name, key, err)
                 : lh_err_set(err, LH_E_INVALID, "a local key has to have bytes");
    } else if (scheme_is_kms(to->scheme)) {
        p.name = lh_strdup(to->name);
        p.endpoint = lh_strdup(endpoint);
        if (!p.name || !p.endpoint)
            rc = lh_err_nomem(err);
    }
    if (rc < 0) {
        provider_done(&p);
        return rc;
    }
    *out = p;
    return 0;
}

static int add_to_rule(struct lh_atrest_rule *r, const struct lh_atrest_ref *to,
                       const struct lh_secret *key, const char *endpoint, struct lh_err *err)
{
    struct lh_atrest_provider *writer = provider_at(r, 0), p;
    int rc;

    if (writer->scheme == to->scheme && scheme_is_local(to->scheme) && key)
        return key_insert(writer, 1, to->name, key, err);
    rc = provider_new(to, key, endpoint, &p, err);
    if (rc < 0)
        return rc;
    if (!insert(&r->providers, 1, &p)) {
        provider_done(&p);
        return lh_err_nomem(err);
    }
    return 0;
}

int lh_atrest_config_add(struct lh_atrest_config *c, const struct lh_atrest_ref *from,
                         const struct lh_atrest_ref *to, const struct lh_secret *key,
                         const char *endpoint, struct lh_err *err)
{
    struct lh_atrest_ref writer;
    size_t rules = 0;

    for (size_t i = 0; i < c->rules.n; i++)
        if (lh_atrest_rule_has(rule_at(c, i), to))
            return lh_err_set(err, LH_E_CONFLICT, "resources[%zu] has %s:%s already", i,
                              lh_atrest_scheme_name(to->scheme), to->name);
    if (scheme_is_kms(to->scheme) && !endpoint)
        return lh_err_set(err, LH_E_INVALID, "a KMS provider has to have an endpoint");
    for (size_t i = 0; i < c->rules.n; i++) {
        int rc;

        if (!lh_atrest_rule_writer(rule_at(c, i), &writer) || !lh_atrest_ref_equal(&writer, from))
            continue;
        rc = add_to_rule(rule_at(c, i), to, key, endpoint, err);
        if (rc < 0)
            return rc;
        rules++;
    }
    if (!rules)
        return lh_err_set(err, LH_E_NOTFOUND, "no rule is written with %s:%s",
                          lh_atrest_scheme_name(from->scheme), from->name);
    return 0;
}

static void to_front(struct lh_vec *v, size_t i)
{
    char item[sizeof(struct lh_atrest_provider)];

    _Static_assert(sizeof(struct lh_atrest_key) <= sizeof(item), "the larger of the two");
    memcpy(item, (char *)v->p + i * v->size, v->size);
    memmove((char *)v->p + v->size, v->p, i * v->size);
    memcpy(v->p, item, v->size);
}

int lh_atrest_config_promote(struct lh_atrest_config *c, const struct lh_atrest_ref *to,
                             struct lh_err *err)
{
    size_t rules = 0, provider, key;

    for (size_t i = 0; i < c->rules.n; i++) {
        struct lh_atrest_rule *r = rule_at(c, i);

        if (!find(r, to, &provider, &key))
            continue;
        if (provider_at(r, provider)->keys.n)
            to_front(&provider_at(r, provider)->keys, key);
        to_front(&r->providers, provider);
        rules++;
    }
    if (!rules)
        return lh_err_set(err, LH_E_NOTFOUND, "no rule has %s:%s",
                          lh_atrest_scheme_name(to->scheme), to->name);
    return 0;
}

static void remove_at(struct lh_atrest_rule *r, size_t provider, size_t key)
{
    struct lh_atrest_provider *p = provider_at(r, provider);

    if (p->keys.n > 1) {
        lh_atrest_key_done(key_at(p, key));
        lh_vec_remove(&p->keys, key);
        return;
    }
    provider_done(p);
    lh_vec_remove(&r->providers, provider);
}

int lh_atrest_config_remove(struct lh_atrest_config *c, const struct lh_atrest_ref *ref,
                            struct lh_err *err)
{
    struct lh_atrest_ref writer;
    size_t rules = 0, provider, key;

    for (size_t i = 0; i < c->rules.n; i++)
        if (lh_atrest_rule_writer(rule_at(c, i), &writer) && lh_atrest_ref_equal(&writer, ref))
            return lh_err_set(err, LH_E_CONFLICT, "resources[%zu] is written with it", i);
    for (size_t i = 0; i < c->rules.n; i++) {
        if (!find(rule_at(c, i), ref, &provider, &key))
            continue;
        remove_at(rule_at(c, i), provider, key);
        rules++;
    }
    if (!rules)
        return lh_err_set(err, LH_E_NOTFOUND, "no rule has %s:%s",
                          lh_atrest_scheme_name(ref->scheme), ref->name);
    return 0;
}
