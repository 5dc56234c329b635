/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule of an EncryptionConfiguration a resource meets, as the API server finds it. */
#include "audit.h"

#include <string.h>

static bool matches(const char *pattern, const char *resource)
{
    const char *group = strchr(resource, '.');

    if (strcmp(pattern, "*.*") == 0 || strcmp(pattern, resource) == 0)
        return true;
    if (pattern[0] != '*' || pattern[1] != '.')
        return false;
    return strcmp(pattern + 2, group ? group + 1 : "") == 0;
}

const struct audit_rule *audit_rule_of(const struct audit *a, const char *resource)
{
    for (size_t i = 0; i < a->rules.n; i++) {
        const struct audit_rule *r = lh_vec_at(&a->rules, i);

        for (size_t k = 0; k < r->resources.n; k++) {
            if (matches(*(char **)lh_vec_at(&r->resources, k), resource))
                return r;
        }
    }
    return NULL;
}

const struct audit_provider *audit_writer_of(const struct audit *a, const char *resource)
{
    const struct audit_rule *r = audit_rule_of(a, resource);

    return r && r->providers.n ? lh_vec_at(&r->providers, 0) : NULL;
}
