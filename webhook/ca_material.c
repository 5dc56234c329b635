/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "ca_material.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"

#define PART_MAX ((size_t)128 * 1024)
#define MAX_CAS  4
#define PEM_END  "-----END CERTIFICATE-----"

/* One key of the Secret's data, decoded into b; false when absent or no base64. */
static bool part(const lh_json *secret, const char *key, struct lh_buf *b)
{
    struct lh_str text;

    lh_buf_init(b, PART_MAX);
    return lh_json_str(lh_json_path(secret, "data", key, NULL), &text) && text.n > 0 &&
           lh_base64_decode(text, b, NULL) == 0 && lh_buf_check(b, NULL) == 0;
}

static int part_text(const lh_json *secret, const char *key, char **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;

    if (!part(secret, key, &b))
        return 0;
    *out = lh_str_dup(lh_buf_peek(&b));
    return *out ? 0 : lh_err_nomem(err);
}

static int part_secret(const lh_json *secret, const char *key, struct lh_secret **out,
                       struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str s;

    if (!part(secret, key, &b))
        return 0;
    s = lh_buf_peek(&b);
    return lh_secret_copy(s.p, s.n, out, err);
}

/* The certificates one by one: the text up to and with its END line. */
static struct lh_str next_pem(struct lh_str *rest)
{
    const char *end = rest->n ? memmem(rest->p, rest->n, PEM_END, sizeof(PEM_END) - 1) : NULL;
    struct lh_str one = {NULL, 0};

    if (!end)
        return one;
    one = (struct lh_str){rest->p, (size_t)(end - rest->p) + sizeof(PEM_END) - 1};
    rest->p += one.n;
    rest->n -= one.n;
    return one;
}

static struct lh_str newest_of(const char *bundle)
{
    struct lh_str rest = lh_str(bundle);

    return next_pem(&rest);
}

static void drop_leaf(struct ca_material *m)
{
    lh_free(LH_TAKE_PTR(m->leaf));
    m->leaf_key = lh_secret_free(m->leaf_key);
}

int ca_material_read(const lh_json *secret, struct ca_material *out, struct lh_err *err)
{
    struct ca_material m = {0};
    unsigned count;
    int rc;

    rc = part_text(secret, "ca.crt", &m.bundle, err);
    if (rc == 0)
        rc = part_secret(secret, "ca.key", &m.ca_key, err);
    if (rc == 0)
        rc = part_text(secret, "tls.crt", &m.leaf, err);
    if (rc == 0)
        rc = part_secret(secret, "tls.key", &m.leaf_key, err);
    if (rc < 0) {
        ca_material_done(&m);
        return rc;
    }
    if (m.bundle && lh_x509_bundle_count(lh_str(m.bundle), &count, NULL) < 0)
        lh_free(LH_TAKE_PTR(m.bundle));
    if (!m.bundle || !m.ca_key || lh_x509_pair_check(newest_of(m.bundle), m.ca_key, NULL) < 0)
        m.ca_key = lh_secret_free(m.ca_key);
    if (!m.bundle || !m.leaf || !m.leaf_key ||
        lh_x509_pair_check(lh_str(m.leaf), m.leaf_key, NULL) < 0 ||
        lh_x509_verify(lh_str(m.leaf), lh_str(m.bundle), NULL) < 0)
        drop_leaf(&m);
    *out = m;
    return 0;
}

void ca_material_done(struct ca_material *m)
{
    drop_leaf(m);
    lh_free(LH_TAKE_PTR(m->bundle));
    m->ca_key = lh_secret_free(m->ca_key);
}

void ca_material_facts(const struct ca_material *m, struct ca_facts *out)
{
    struct lh_cert_info info;

    memset(out, 0, sizeof(*out));
    if (m->bundle && lh_x509_info(newest_of(m->bundle), &info, NULL) == 0) {
        out->has_ca = true;
        out->has_ca_key = m->ca_key != NULL;
        out->ca_from_ms = info.not_before_ms;
        out->ca_until_ms = info.not_after_ms;
    }
    if (m->leaf && lh_x509_info(lh_str(m->leaf), &info, NULL) == 0) {
        out->has_leaf = true;
        out->leaf_by_newest = lh_x509_verify(lh_str(m->leaf), newest_of(m->bundle), NULL) == 0;
        out->leaf_from_ms = info.not_before_ms;
        out->leaf_until_ms = info.not_after_ms;
    }
}

int ca_material_new_ca(struct ca_material *m, const char *name, int64_t now_ms, struct lh_err *err)
{
    struct lh_cert_pair pair = {0};
    lh_auto_buf struct lh_buf b;
    struct lh_str rest, one;
    struct lh_cert_info info;
    char *bundle = NULL;
    size_t n = 0;
    int rc;

    rc = lh_x509_new_ca(name, CA_DAYS, &pair, err);
    if (rc < 0)
        return rc;
    lh_buf_init(&b, PART_MAX);
    lh_buf_put_z(&b, pair.cert_pem);
    rest = lh_str(m->bundle ? m->bundle : "");
    for (unsigned kept = 1; kept < MAX_CAS; kept++) {
        one = next_pem(&rest);
        if (!one.p)
            break;
        if (lh_x509_info(one, &info, NULL) < 0 || info.not_after_ms <= now_ms)
            continue;
        lh_buf_put_str(&b, lh_str_trim(one));
        lh_buf_put_c(&b, '\n');
    }
    rc = lh_buf_finish(&b, &bundle, &n, err);
    if (rc == 0) {
        lh_free(m->bundle);
        m->bundle = bundle;
        lh_secret_free(m->ca_key);
        m->ca_key = LH_TAKE_PTR(pair.key_pem);
    }
    lh_cert_pair_done(&pair);
    return rc;
}

int ca_material_new_leaf(struct ca_material *m, const char *service, struct lh_err *err)
{
    struct lh_str newest = newest_of(m->bundle);
    lh_auto_free char *newest_pem = lh_str_dup(newest);
    struct lh_cert_pair leaf = {0};
    struct lh_cert_pair ca = {.cert_pem = newest_pem, .key_pem = m->ca_key};
    char names[3][300];
    const char *const list[] = {names[0], names[1], names[2], NULL};
    int rc;

    if (!newest_pem)
        return lh_err_nomem(err);
    snprintf(names[0], sizeof(names[0]), "%s.svc", service);
    snprintf(names[1], sizeof(names[1]), "%s", service);
    snprintf(names[2], sizeof(names[2]), "%s.svc.cluster.local", service);
    rc = lh_x509_new_leaf(&ca, list, LEAF_HOURS, &leaf, err);
    if (rc < 0)
        return rc;
    drop_leaf(m);
    m->leaf = leaf.cert_pem;
    m->leaf_key = leaf.key_pem;
    return 0;
}

static int put_part(lh_json *data, const char *key, struct lh_str bytes)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 2 * PART_MAX);
    lh_base64_put(&b, bytes.p, bytes.n);
    return lh_buf_check(&b, NULL) < 0 ? -1
                                      : lh_json_set(data, key, lh_json_new_str(lh_buf_peek(&b)));
}

static int put_key(lh_json *data, const char *key, const struct lh_secret *s)
{
    if (!s)
        return 0;
    return put_part(data, key, (struct lh_str){lh_secret_expose_const(s), lh_secret_len(s)});
}

int ca_material_write(const struct ca_material *m, const lh_json *secret, lh_json **out,
                      struct lh_err *err)
{
    lh_auto_json lh_json *copy = lh_json_deep_copy(secret);
    lh_auto_json lh_json *data = lh_json_new_object();

    if (!copy || !data || put_part(data, "ca.crt", lh_str(m->bundle)) < 0 ||
        put_key(data, "ca.key", m->ca_key) < 0 ||
        (m->leaf && put_part(data, "tls.crt", lh_str(m->leaf)) < 0) ||
        put_key(data, "tls.key", m->leaf_key) < 0 ||
        lh_json_set(copy, "data", LH_TAKE_PTR(data)) < 0)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(copy);
    return 0;
}
