/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/kmsv2/messages.h"

int lh_kmsv2_key_id_check(struct lh_str key_id, struct lh_err *err)
{
    if (key_id.n == 0)
        return lh_err_set(err, LH_E_INVALID, "key_id is empty");
    if (key_id.n > LH_KMSV2_KEY_ID_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "key_id has %zu bytes, the API server takes %d",
                          key_id.n, LH_KMSV2_KEY_ID_MAX);
    return 0;
}

int lh_kmsv2_status_check(const struct lh_kmsv2_status *m, struct lh_err *err)
{
    if (!lh_str_eqz(m->version, "v2") && !lh_str_eqz(m->version, "v2beta1"))
        return lh_err_set(err, LH_E_INVALID, "version is neither \"v2\" nor \"v2beta1\"");
    return lh_kmsv2_key_id_check(m->key_id, err);
}

/* As k8s.io/apimachinery's IsFullyQualifiedDomainName: two labels or more, one final dot allowed.
 */
static bool is_qualified(struct lh_str name)
{
    size_t dots = 0;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    for (size_t i = 0; i < name.n; i++)
        dots += name.p[i] == '.';
    if (dots == 0 || !lh_str_is_dns_subdomain(name))
        return false;
    while (name.n > 0) {
        struct lh_str label, rest;

        lh_str_cut(name, '.', &label, &rest);
        if (!lh_str_is_dns_label(label))
            return false;
        name = rest;
    }
    return true;
}

static int annotations_check(const struct lh_kmsv2_sealed *m, struct lh_err *err)
{
    size_t total = 0;

    for (size_t i = 0; i < m->n_annotations; i++) {
        const struct lh_kmsv2_annotation *a = &m->annotations[i];

        if (!is_qualified(a->name))
            return lh_err_set(err, LH_E_INVALID,
                              "the name of annotation %zu is not a fully qualified domain name "
                              "(lower case, two labels or more)",
                              i + 1);
        total += a->name.n + a->value.n;
    }
    if (total > LH_KMSV2_ANNOTATIONS_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "annotations have %zu bytes, the API server takes %d",
                          total, LH_KMSV2_ANNOTATIONS_MAX);
    return 0;
}

int lh_kmsv2_sealed_check(const struct lh_kmsv2_sealed *m, struct lh_err *err)
{
    int rc;

    if (m->ciphertext.n == 0)
        return lh_err_set(err, LH_E_INVALID, "ciphertext is empty");
    if (m->ciphertext.n > LH_KMSV2_CIPHERTEXT_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "ciphertext has %zu bytes, the API server takes %d",
                          m->ciphertext.n, LH_KMSV2_CIPHERTEXT_MAX);
    rc = lh_kmsv2_key_id_check(m->key_id, err);
    return rc < 0 ? rc : annotations_check(m, err);
}
