/* SPDX-License-Identifier: Apache-2.0 */
#include "transit_key.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"

static int by_version(const void *a, const void *b)
{
    const struct lh_transit_version *x = a, *y = b;

    return x->version < y->version ? -1 : x->version > y->version;
}

/* A symmetric key says when a version was made in seconds; an asymmetric one in a text. */
static bool created_of(const lh_json *v, int64_t *out)
{
    const char *text = lh_json_get_z(v, "creation_time");
    int64_t ms;

    if (lh_json_int(v, out))
        return *out > 0;
    if (!text || lh_clock_parse(text, &ms) < 0)
        return false;
    *out = ms / 1000;
    return true;
}

static int read_versions(const lh_json *keys, struct lh_transit_key *out,
                         struct lh_transit_version **versions, struct lh_err *err)
{
    size_t n = lh_json_len(keys), i = 0;
    struct lh_transit_version *list;
    const lh_json *value;
    struct lh_str name;
    void *it = NULL;

    if (lh_json_type(keys) != LH_JSON_OBJECT || n == 0)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the answer names no version of the key");
    if (n > LH_TRANSIT_VERSIONS_MAX)
        return lh_err_set(err, LH_E_TOOBIG,
                          "the key has more than %d versions: raise its min_decryption_version "
                          "once nothing needs the oldest",
                          LH_TRANSIT_VERSIONS_MAX);
    list = lh_calloc(n, sizeof(*list));
    if (!list)
        return lh_err_nomem(err);
    while (lh_json_next(keys, &it, &name, &value)) {
        long long version = 0;

        if (i == n || !lh_str_to_i64(name, 1, INT64_MAX, &version) ||
            !created_of(value, &list[i].created_s)) {
            lh_free(list);
            return lh_err_set(err, LH_E_UNAVAILABLE,
                              "the answer does not say when each version was made");
        }
        list[i++].version = version;
    }
    qsort(list, i, sizeof(*list), by_version);
    out->versions = *versions = list;
    out->n_versions = i;
    return 0;
}

int lh_transit_key_read(const lh_json *json, struct lh_transit_key *out,
                        struct lh_transit_version **versions, struct lh_err *err)
{
    static const char *const aead[] = {"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305",
                                       "xchacha20-poly1305"};
    const lh_json *d = lh_json_get(json, "data");
    struct lh_transit_key k = {
        .type = lh_json_get_z(d, "type"),
        .encrypts = lh_json_get_bool(d, "supports_encryption", false),
        .decrypts = lh_json_get_bool(d, "supports_decryption", false),
        .deletion_allowed = lh_json_get_bool(d, "deletion_allowed", false),
        .exportable = lh_json_get_bool(d, "exportable", false),
        .plaintext_backup = lh_json_get_bool(d, "allow_plaintext_backup", false),
        .derived = lh_json_get_bool(d, "derived", false),
        .soft_deleted = lh_json_get_bool(d, "soft_deleted", false),
        .latest = lh_json_get_int(d, "latest_version", 0),
        .min_decryption = lh_json_get_int(d, "min_decryption_version", 0),
        .min_encryption = lh_json_get_int(d, "min_encryption_version", 0),
        .min_available = lh_json_get_int(d, "min_available_version", 0),
    };
    int rc;

    if (!k.type || k.latest < 1)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the answer is not that of a Transit key");
    for (size_t i = 0; i < LH_ARRAY_LEN(aead); i++)
        k.aead = k.aead || strcmp(k.type, aead[i]) == 0;
    rc = read_versions(lh_json_get(d, "keys"), &k, versions, err);
    if (rc == 0)
        *out = k;
    return rc;
}

int64_t lh_transit_version_of(struct lh_str ciphertext)
{
    struct lh_str word, rest, version, body;
    long long n = 0;

    if (!lh_str_cut(ciphertext, ':', &word, &rest) || word.n == 0 ||
        !lh_str_cut(rest, ':', &version, &body) || body.n == 0 || version.n < 2 ||
        version.p[0] != 'v')
        return 0;
    version.p++;
    version.n--;
    return lh_str_to_i64(version, 1, INT64_MAX, &n) ? n : 0;
}
