/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/netaddr.h"
#include "leasehold/core/rand.h"
#include "x509_priv.h"

enum { BACKDATE_S = 60, SERIAL_BYTES = 16 };

/* Bits of KeyUsage, RFC 5280 4.2.1.3. */
enum { USE_DIGITAL_SIGNATURE = 0, USE_CERT_SIGN = 5, USE_CRL_SIGN = 6 };

struct recipe {
    const char *common_name;
    const char *const *names;
    int64_t seconds;
    const int *key_usage; /* ended by -1 */
    int ext_key_usage;    /* NID, 0: none */
    bool ca;
};

static bool add_ext(X509 *x, int nid, void *value, bool critical)
{
    return value && X509_add1_ext_i2d(x, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_basic(X509 *x, bool ca)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    bool ok = bc != NULL;

    if (ok && ca) {
        bc->ca = 0xff;
        bc->pathlen = ASN1_INTEGER_new(); /* signs leaves only */
        ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, 0);
    }
    ok = ok && add_ext(x, NID_basic_constraints, bc, true);
    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

static bool add_key_usage(X509 *x, const int *bits)
{
    ASN1_BIT_STRING *use = ASN1_BIT_STRING_new();
    bool ok = use != NULL;

    for (; ok && *bits >= 0; bits++)
        ok = ASN1_BIT_STRING_set_bit(use, *bits, 1);
    ok = ok && add_ext(x, NID_key_usage, use, true);
    ASN1_BIT_STRING_free(use);
    return ok;
}

static bool add_ext_key_usage(X509 *x, int nid)
{
    EXTENDED_KEY_USAGE *use;
    bool ok;

    if (!nid)
        return true;
    use = EXTENDED_KEY_USAGE_new();
    ok = use && sk_ASN1_OBJECT_push(use, OBJ_nid2obj(nid)) > 0 &&
         add_ext(x, NID_ext_key_usage, use, false);
    EXTENDED_KEY_USAGE_free(use);
    return ok;
}

static bool key_id(X509 *x, ASN1_OCTET_STRING *out)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    return X509_pubkey_digest(x, EVP_sha1(), md, &n) && ASN1_OCTET_STRING_set(out, md, (int)n);
}

static bool add_key_ids(X509 *x, X509 *issuer)
{
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    AUTHORITY_KEYID *auth = AUTHORITY_KEYID_new();
    bool ok = id && auth && key_id(x, id) && add_ext(x, NID_subject_key_identifier, id, false);

    if (ok) {
        auth->keyid = ASN1_OCTET_STRING_new();
        ok = auth->keyid && key_id(issuer, auth->keyid) &&
             add_ext(x, NID_authority_key_identifier, auth, false);
    }
    AUTHORITY_KEYID_free(auth);
    ASN1_OCTET_STRING_free(id);
    return ok;
}

static GENERAL_NAME *name_new(const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = NULL;
    struct lh_ip ip;
    bool v4, is_ip = lh_ip_parse(text, &ip, &v4), ok;

    if (!name)
        return NULL;
    if (is_ip) {
        value = ASN1_OCTET_STRING_new();
        ok = value && ASN1_STRING_set(value, v4 ? ip.b + 12 : ip.b, v4 ? 4 : 16);
    } else {
        value = ASN1_IA5STRING_new();
        ok = value && ASN1_STRING_set(value, text, (int)strlen(text));
    }
    if (!ok) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, is_ip ? GEN_IPADD : GEN_DNS, value);
    return name;
}

static bool add_names(X509 *x, const char *const *names)
{
    GENERAL_NAMES *list;
    bool ok;

    if (!names || !names[0])
        return true;
    list = GENERAL_NAMES_new();
    ok = list != NULL;
    for (size_t i = 0; ok && names[i]; i++) {
        GENERAL_NAME *name = name_new(names[i]);

        ok = name && sk_GENERAL_NAME_push(list, name) > 0;
        if (!ok)
            GENERAL_NAME_free(name);
    }
    ok = ok && add_ext(x, NID_subject_alt_name, list, false);
    GENERAL_NAMES_free(list);
    return ok;
}

static bool set_subject(X509 *x, const char *common_name)
{
    /* RFC 5280 allows 64 characters; the names that count are in the extension. */
    int n = (int)strnlen(common_name, 64);

    return X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                      (const unsigned char *)common_name, n, -1, 0) == 1;
}

static bool set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *n;
    bool ok;

    lh_rand_bytes(bytes, sizeof(bytes));
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and of one length */
    n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

static bool set_fields(X509 *x, EVP_PKEY *key, const struct recipe *r)
{
    time_t now = (time_t)(lh_clock_wall_ms() / 1000);

    return X509_set_version(x, X509_VERSION_3) && set_serial(x) && X509_set_pubkey(x, key) &&
           ASN1_TIME_set(X509_getm_notBefore(x), now - BACKDATE_S) &&
           ASN1_TIME_set(X509_getm_notAfter(x), now + (time_t)r->seconds) &&
           set_subject(x, r->common_name);
}

/* issuer NULL: signs itself. */
static int build(const struct recipe *r, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                 X509 **out, struct lh_err *err)
{
    auto_x509 X509 *x = X509_new();
    bool ok;

    if (!x)
        return lh_err_nomem(err);
    if (!issuer)
        issuer = x;
    ok = set_fields(x, key, r) && X509_set_issuer_name(x, X509_get_subject_name(issuer)) &&
         add_basic(x, r->ca) && add_key_usage(x, r->key_usage) &&
         add_ext_key_usage(x, r->ext_key_usage) && add_names(x, r->names) &&
         add_key_ids(x, issuer) && X509_sign(x, issuer_key, EVP_sha256()) > 0;
    ERR_clear_error();
    if (!ok)
        return lh_err_set(err, LH_E_INVALID, "cannot make a certificate for \"%.64s\"",
                          r->common_name);
    *out = LH_TAKE_PTR(x);
    return 0;
}

static int to_pem(X509 *x, EVP_PKEY *key, struct lh_cert_pair *out, struct lh_err *err)
{
    auto_bio BIO *cert = BIO_new(BIO_s_mem()), *priv = BIO_new(BIO_s_mem());
    lh_auto_free char *pem = NULL;
    struct lh_secret *secret = NULL;
    char *p = NULL;
    long n;
    int rc;

    if (!cert || !priv || !PEM_write_bio_X509(cert, x) ||
        !PEM_write_bio_PKCS8PrivateKey(priv, key, NULL, NULL, 0, NULL, NULL))
        return lh_err_nomem(err);
    n = BIO_get_mem_data(cert, &p);
    pem = lh_strndup(p, (size_t)n);
    if (!pem)
        return lh_err_nomem(err);
    n = BIO_get_mem_data(priv, &p);
    rc = lh_secret_copy(p, (size_t)n, &secret, err);
    if (rc < 0)
        return rc;
    out->cert_pem = LH_TAKE_PTR(pem);
    out->key_pem = secret;
    return 0;
}

static int issue(const struct recipe *r, const struct lh_cert_pair *ca, struct lh_cert_pair *out,
                 struct lh_err *err)
{
    auto_key EVP_PKEY *key = EVP_EC_gen("P-256"), *ca_key = NULL;
    auto_x509 X509 *ca_cert = NULL, *x = NULL;
    int rc = 0;

    if (!key)
        return lh_err_nomem(err);
    if (ca) {
        rc = x509_read_first(lh_str(ca->cert_pem), &ca_cert, err);
        if (rc == 0)
            rc = x509_read_key(ca->key_pem, &ca_key, err);
        if (rc < 0)
            return lh_err_wrap(err, rc, "CA");
    }
    rc = build(r, key, ca_cert, ca ? ca_key : key, &x, err);
    return rc < 0 ? rc : to_pem(x, key, out, err);
}

int lh_x509_new_ca(const char *common_name, int64_t days, struct lh_cert_pair *out,
                   struct lh_err *err)
{
    static const int use[] = {USE_CERT_SIGN, USE_CRL_SIGN, -1};
    struct recipe r = {
        .common_name = common_name, .seconds = days * 86400, .key_usage = use, .ca = true};

    return issue(&r, NULL, out, err);
}

int lh_x509_new_leaf(const struct lh_cert_pair *ca, const char *const *dns_names, int64_t hours,
                     struct lh_cert_pair *out, struct lh_err *err)
{
    static const int use[] = {USE_DIGITAL_SIGNATURE, -1};
    struct recipe r = {.names = dns_names,
                       .seconds = hours * 3600,
                       .key_usage = use,
                       .ext_key_usage = NID_server_auth};

    if (!dns_names || !dns_names[0])
        return lh_err_set(err, LH_E_INVALID, "a server certificate needs a name");
    r.common_name = dns_names[0];
    return issue(&r, ca, out, err);
}

int lh_x509_new_client_leaf(const struct lh_cert_pair *ca, const char *common_name, int64_t hours,
                            struct lh_cert_pair *out, struct lh_err *err)
{
    static const int use[] = {USE_DIGITAL_SIGNATURE, -1};
    struct recipe r = {.common_name = common_name,
                       .seconds = hours * 3600,
                       .key_usage = use,
                       .ext_key_usage = NID_client_auth};

    return issue(&r, ca, out, err);
}
