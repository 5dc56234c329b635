/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ATREST_CONFIG_PRIV_H
#define LH_ATREST_CONFIG_PRIV_H

#include "leasehold/atrest/config.h"

enum finding_flag { ACCEPTED, REFUSED };

#define ROTATION_COMMENT "# leasehold rotation: "

/* where and text are printf-like in one: text first. Past LH_ATREST_FINDINGS_MAX nothing is added.
 */
int finding_add(struct lh_vec *findings, const char *id, enum lh_atrest_severity severity,
                enum finding_flag refused, const char *where, struct lh_err *err, const char *fmt,
                ...) __attribute__((format(printf, 7, 8)));

void provider_done(struct lh_atrest_provider *p);
void rule_done(struct lh_atrest_rule *r);
bool scheme_is_local(enum lh_atrest_scheme s);
bool scheme_is_kms(enum lh_atrest_scheme s);

bool resource_is_wildcard(const char *resource);
/* Does a resource of a rule, wildcards included, stand for this one? */
bool resource_covers(const char *rule, const char *resource);

static inline struct lh_atrest_rule *rule_at(const struct lh_atrest_config *c, size_t i)
{
    return lh_vec_at(&c->rules, i);
}
static inline struct lh_atrest_provider *provider_at(const struct lh_atrest_rule *r, size_t i)
{
    return lh_vec_at(&r->providers, i);
}
static inline struct lh_atrest_key *key_at(const struct lh_atrest_provider *p, size_t i)
{
    return lh_vec_at(&p->keys, i);
}
static inline const char *resource_at(const struct lh_atrest_rule *r, size_t i)
{
    return *(char **)lh_vec_at(&r->resources, i);
}

#endif
