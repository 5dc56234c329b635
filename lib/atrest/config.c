/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "config_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

static const char *const severities[LH_ATREST_SEVERITIES] = {
    [LH_ATREST_INFO] = "info", [LH_ATREST_LOW] = "low",           [LH_ATREST_MEDIUM] = "medium",
    [LH_ATREST_HIGH] = "high", [LH_ATREST_CRITICAL] = "critical",
};

const char *lh_atrest_severity_name(enum lh_atrest_severity s)
{
    return (unsigned)s < LH_ATREST_SEVERITIES ? severities[s] : "info";
}

int finding_add(struct lh_vec *findings, const char *id, enum lh_atrest_severity severity,
                enum finding_flag refused, const char *where, struct lh_err *err, const char *fmt,
                ...)
{
    struct lh_atrest_finding f = {.id = id, .severity = severity, .refused = refused == REFUSED};
    char text[512];
    va_list ap;

    if (findings->n >= LH_ATREST_FINDINGS_MAX)
        return 0;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    f.where = lh_strdup(where);
    f.text = lh_strdup(text);
    if (!f.where || !f.text || !lh_vec_push(findings, &f)) {
        lh_free(f.where);
        lh_free(f.text);
        return lh_err_nomem(err);
    }
    return 0;
}

void lh_atrest_findings_done(struct lh_vec *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        struct lh_atrest_finding *f = lh_vec_at(findings, i);

        lh_free(f->where);
        lh_free(f->text);
    }
    lh_vec_done(findings);
}

int lh_atrest_findings_worst(const struct lh_vec *findings)
{
    int worst = -1;

    for (size_t i = 0; i < findings->n; i++) {
        const struct lh_atrest_finding *f = lh_vec_at(findings, i);

        if ((int)f->severity > worst)
            worst = (int)f->severity;
    }
    return worst;
}

bool lh_atrest_findings_refused(const struct lh_vec *findings)
{
    for (size_t i = 0; i < findings->n; i++)
        if (((const struct lh_atrest_finding *)lh_vec_at(findings, i))->refused)
            return true;
    return false;
}

bool scheme_is_local(enum lh_atrest_scheme s)
{
    return lh_atrest_scheme_protection(s) == LH_ATREST_LOCAL;
}

bool scheme_is_kms(enum lh_atrest_scheme s)
{
    return lh_atrest_scheme_protection(s) == LH_ATREST_KMS;
}

void lh_atrest_key_done(struct lh_atrest_key *k)
{
    lh_free(k->name);
    k->secret = lh_secret_free(k->secret);
}

void provider_done(struct lh_atrest_provider *p)
{
    for (size_t i = 0; i < p->keys.n; i++)
        lh_atrest_key_done(key_at(p, i));
    lh_vec_done(&p->keys);
    lh_free(p->name);
    lh_free(p->endpoint);
}

void rule_done(struct lh_atrest_rule *r)
{
    for (size_t i = 0; i < r->resources.n; i++)
        lh_free(*(char **)lh_vec_at(&r->resources, i));
    for (size_t i = 0; i < r->providers.n; i++)
        provider_done(provider_at(r, i));
    lh_vec_done(&r->resources);
    lh_vec_done(&r->providers);
}

void lh_atrest_config_done(struct lh_atrest_config *c)
{
    for (size_t i = 0; i < c->rules.n; i++)
        rule_done(rule_at(c, i));
    lh_vec_done(&c->rules);
}

static struct lh_str group_of(const char *resource)
{
    const char *dot = strchr(resource, '.');

    return lh_str(dot ? dot + 1 : "");
}

/* "secrets." is "secrets". */
static struct lh_str without_dot(const char *resource)
{
    struct lh_str s = lh_str(resource);

    if (s.n > 1 && s.p[s.n - 1] == '.' && strchr(resource, '.') == s.p + s.n - 1)
        s.n--;
    return s;
}

bool resource_is_wildcard(const char *resource)
{
    return strncmp(resource, "*.", 2) == 0;
}

bool resource_covers(const char *rule, const char *resource)
{
    if (strcmp(rule, resource) == 0 || strcmp(rule, "*.*") == 0)
        return true;
    if (resource_is_wildcard(rule))
        return lh_str_eqz(group_of(resource), rule + 2);
    return !resource_is_wildcard(resource) && lh_str_eq(without_dot(rule), without_dot(resource));
}

const struct lh_atrest_rule *lh_atrest_config_rule(const struct lh_atrest_config *c,
                                                   const char *resource)
{
    for (size_t i = 0; i < c->rules.n; i++)
        for (size_t k = 0; k < rule_at(c, i)->resources.n; k++)
            if (resource_covers(resource_at(rule_at(c, i), k), resource))
                return rule_at(c, i);
    return NULL;
}

int lh_atrest_key_new(const char *name, struct lh_atrest_key *out, struct lh_err *err)
{
    struct lh_atrest_key k = {.name = lh_strdup(name)};
    int rc;

    if (!k.name)
        return lh_err_nomem(err);
    rc = lh_secret_new(32, &k.secret, err);
    if (rc < 0) {
        lh_atrest_key_done(&k);
        return rc;
    }
    lh_rand_bytes(lh_secret_expose(k.secret), lh_secret_len(k.secret));
    *out = k;
    return 0;
}
