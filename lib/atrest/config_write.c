/* SPDX-License-Identifier: Apache-2.0 */
/* By hand: keys are written, and lh_yaml_write is never given a secret. Every string is written as
 * JSON, which YAML reads as it is. */
#include "config_priv.h"
#include "leasehold/codec/base64.h"
#include "leasehold/codec/duration.h"
#include "leasehold/codec/json.h"

static void put_field(struct lh_buf *b, const char *name, const char *value)
{
    lh_buf_printf(b, "      %s: ", name);
    lh_json_write_str(lh_str(value ? value : ""), b);
    lh_buf_put_c(b, '\n');
}

static void put_keys(const struct lh_atrest_provider *p, struct lh_buf *b)
{
    lh_buf_put_z(b, "      keys:\n");
    for (size_t i = 0; i < p->keys.n; i++) {
        const struct lh_atrest_key *k = key_at(p, i);

        lh_buf_put_z(b, "      - name: ");
        lh_json_write_str(lh_str(k->name ? k->name : ""), b);
        lh_buf_put_z(b, "\n        secret: ");
        if (k->secret)
            lh_base64_put(b, lh_secret_expose_const(k->secret), lh_secret_len(k->secret));
        lh_buf_put_c(b, '\n');
    }
}

static void put_kms(const struct lh_atrest_provider *p, struct lh_buf *b)
{
    lh_buf_put_z(b, p->scheme == LH_ATREST_KMS_V2 ? "      apiVersion: v2\n"
                                                  : "      apiVersion: v1\n");
    put_field(b, "name", p->name);
    put_field(b, "endpoint", p->endpoint);
    if (p->cache_size >= 0 && p->scheme == LH_ATREST_KMS_V1)
        lh_buf_printf(b, "      cachesize: %lld\n", (long long)p->cache_size);
    if (p->timeout_ms > 0) {
        lh_buf_put_z(b, "      timeout: ");
        lh_duration_put(b, p->timeout_ms);
        lh_buf_put_c(b, '\n');
    }
}

static void put_provider(const struct lh_atrest_provider *p, struct lh_buf *b)
{
    if (p->scheme == LH_ATREST_IDENTITY) {
        lh_buf_put_z(b, "  - identity: {}\n");
        return;
    }
    lh_buf_printf(b, "  - %s:\n",
                  scheme_is_kms(p->scheme) ? "kms" : lh_atrest_scheme_name(p->scheme));
    if (scheme_is_kms(p->scheme))
        put_kms(p, b);
    else
        put_keys(p, b);
}

void lh_atrest_config_write(const struct lh_atrest_config *c, struct lh_buf *b)
{
    if (c->rotation.to[0])
        lh_buf_printf(b, ROTATION_COMMENT "%s -> %s\n", c->rotation.from, c->rotation.to);
    lh_buf_put_z(b, "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
                    "resources:\n");
    for (size_t i = 0; i < c->rules.n; i++) {
        const struct lh_atrest_rule *r = rule_at(c, i);

        lh_buf_put_z(b, "- resources:\n");
        for (size_t k = 0; k < r->resources.n; k++) {
            lh_buf_put_z(b, "  - ");
            lh_json_write_str(lh_str(resource_at(r, k)), b);
            lh_buf_put_c(b, '\n');
        }
        lh_buf_put_z(b, "  providers:\n");
        for (size_t k = 0; k < r->providers.n; k++)
            put_provider(provider_at(r, k), b);
    }
}
