/* SPDX-License-Identifier: Apache-2.0 */
/* Which resources a configuration is about, as the API server serves them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encryption_rewrite.h"
#include "leasehold/core/mem.h"

struct discovery {
    struct enc_api *api;
    struct lh_vec served; /* struct enc_resource */
    struct lh_vec groups; /* char *: those that served knows */
    struct lh_vec *out;
};

static void resource_done(struct enc_resource *r)
{
    lh_free(r->name);
    lh_free(r->group);
    lh_free(r->plural);
    lh_free(r->base);
}

void enc_resources_done(struct lh_vec *resources)
{
    for (size_t i = 0; i < resources->n; i++)
        resource_done(lh_vec_at(resources, i));
    lh_vec_done(resources);
}

static int push(struct lh_vec *to, const char *group, const char *plural, const char *base,
                struct lh_err *err)
{
    struct enc_resource r = {.name =
                                 *group ? lh_asprintf("%s.%s", plural, group) : lh_strdup(plural),
                             .group = lh_strdup(group),
                             .plural = lh_strdup(plural),
                             .base = lh_strdup(base)};

    if (r.name && r.group && r.plural && r.base && lh_vec_push(to, &r))
        return 0;
    resource_done(&r);
    return lh_err_nomem(err);
}

static const struct enc_resource *find(const struct lh_vec *in, const char *name)
{
    for (size_t i = 0; i < in->n; i++) {
        const struct enc_resource *r = lh_vec_at(in, i);

        if (strcmp(r->name, name) == 0)
            return r;
    }
    return NULL;
}

/* *out NULL: it is not served, or whoever serves it is away. */
static int get(struct discovery *d, const char *path, lh_json **out, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *body = NULL;
    int status = 0, rc = enc_api_call(d->api, "GET", path, NULL, NULL, &status, &body, err);

    *out = NULL;
    if (rc < 0 || status == 404 || status == 503)
        return rc;
    if (status != 200)
        return lh_err_set(err, LH_E_DENIED, "%s answers %d to %s", enc_api_server(d->api), status,
                          path);
    return lh_json_parse((struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)}, NULL,
                         out, err);
}

static bool can(const lh_json *resource, const char *verb)
{
    const lh_json *verbs = lh_json_get(resource, "verbs");
    struct lh_str s;

    for (size_t i = 0; i < lh_json_len(verbs); i++)
        if (lh_json_str(lh_json_at(verbs, i), &s) && lh_str_eqz(s, verb))
            return true;
    return false;
}

static bool is_name(const char *s)
{
    return s && *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(s);
}

/* What one version serves and no earlier one of its group did. */
static int take_version(struct discovery *d, const char *group, const char *base,
                        struct lh_err *err)
{
    lh_auto_json lh_json *list = NULL;
    const lh_json *resources;
    int rc = get(d, base, &list, err);

    if (rc == 0 && !list)
        fprintf(stderr, "leasehold encryption: %s is not served now: passed over\n", base);
    resources = lh_json_get(list, "resources");
    for (size_t i = 0; rc == 0 && i < lh_json_len(resources); i++) {
        const lh_json *one = lh_json_at(resources, i);
        const char *plural = lh_json_get_z(one, "name");
        lh_auto_free char *name = NULL;

        /* A name with a slash is a subresource. */
        if (!is_name(plural) || strchr(plural, '.') || !can(one, "list") || !can(one, "get") ||
            !can(one, "update"))
            continue;
        name = *group ? lh_asprintf("%s.%s", plural, group) : lh_strdup(plural);
        if (!name)
            return lh_err_nomem(err);
        /* Events of both groups are one, kept as the core's. */
        if (!find(&d->served, name) && strcmp(name, "events.events.k8s.io") != 0)
            rc = push(&d->served, group, plural, base, err);
    }
    return rc;
}

static int take_group(struct discovery *d, const char *group, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("/apis/%s", group), *known = lh_strdup(group);
    lh_auto_json lh_json *doc = NULL;
    const lh_json *versions;
    int rc = 0;

    for (size_t i = 0; i < d->groups.n; i++)
        if (strcmp(*(char **)lh_vec_at(&d->groups, i), group) == 0)
            return 0;
    if (!path || !known || !lh_vec_push(&d->groups, &known))
        return lh_err_nomem(err);
    known = NULL;
    if (!*group)
        return take_version(d, "", "/api/v1", err);
    rc = get(d, path, &doc, err);
    versions = lh_json_get(doc, "versions");
    for (size_t i = 0; rc == 0 && i < lh_json_len(versions); i++) {
        const char *version = lh_json_get_z(lh_json_at(versions, i), "version");
        lh_auto_free char *base = is_name(version) ? lh_asprintf("%s/%s", path, version) : NULL;

        if (base)
            rc = take_version(d, group, base, err);
        else if (is_name(version))
            rc = lh_err_nomem(err);
    }
    return rc;
}

static int take_all(struct discovery *d, struct lh_err *err)
{
    lh_auto_json lh_json *list = NULL;
    const lh_json *groups;
    int rc = take_group(d, "", err);

    if (rc == 0)
        rc = get(d, "/apis", &list, err);
    groups = lh_json_get(list, "groups");
    for (size_t i = 0; rc == 0 && i < lh_json_len(groups); i++) {
        const char *name = lh_json_get_z(lh_json_at(groups, i), "name");

        if (is_name(name))
            rc = take_group(d, name, err);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct enc_resource *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int keep(struct discovery *d, const struct enc_resource *r, struct lh_err *err)
{
    return find(d->out, r->name) ? 0 : push(d->out, r->group, r->plural, r->base, err);
}

/* "*.", "*.apps", "*.*": sorted, so that --after finds its place again. */
static int expand(struct discovery *d, const char *wildcard, struct lh_err *err)
{
    const char *group = wildcard + 2;
    bool all = strcmp(group, "*") == 0;
    int rc = all ? take_all(d, err) : take_group(d, group, err);

    if (d->served.n)
        qsort(d->served.p, d->served.n, d->served.size, by_name);
    for (size_t i = 0; rc == 0 && i < d->served.n; i++) {
        const struct enc_resource *r = lh_vec_at(&d->served, i);

        if (all || strcmp(r->group, group) == 0)
            rc = keep(d, r, err);
    }
    return rc;
}

static int take_one(struct discovery *d, const char *name, struct lh_err *err)
{
    const char *dot = strchr(name, '.');
    lh_auto_free char *plain = lh_strdup(name);
    const struct enc_resource *r;
    int rc;

    if (!plain)
        return lh_err_nomem(err);
    /* "secrets." is the core's, too. */
    if (dot && !dot[1])
        plain[dot - name] = '\0';
    rc = take_group(d, dot ? dot + 1 : "", err);
    if (rc < 0)
        return rc;
    r = find(&d->served, plain);
    return r ? keep(d, r, err)
             : lh_err_set(err, LH_E_NOTFOUND,
                          "%s is not served, or cannot be updated: --resources names what is to be "
                          "written again",
                          name);
}

int enc_discover(struct enc_api *a, const struct lh_vec *names, struct lh_vec *out,
                 struct lh_err *err)
{
    struct discovery d = {.api = a, .out = out};
    int rc = 0;

    lh_vec_init(&d.served, sizeof(struct enc_resource));
    lh_vec_init(&d.groups, sizeof(char *));
    lh_vec_init(out, sizeof(struct enc_resource));
    for (size_t i = 0; rc == 0 && i < names->n; i++) {
        const char *name = *(char **)lh_vec_at(names, i);

        if (strncmp(name, "*.", 2) == 0)
            rc = expand(&d, name, err);
        else if (is_name(name))
            rc = take_one(&d, name, err);
        else
            rc = lh_err_set(err, LH_E_INVALID, "--resources holds no name of a resource");
    }
    enc_resources_done(&d.served);
    enc_list_done(&d.groups);
    if (rc < 0)
        enc_resources_done(out);
    return rc;
}
