/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CRYPTO_X509_H
#define LEASEHOLD_CRYPTO_X509_H

/* The webhook's own CA and leaves (P-256, RFC 5280), and questions about PEM from outside. Private
 * keys are lh_secret PEM. */
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"

struct lh_cert_pair {
    char *cert_pem;            /* owned */
    struct lh_secret *key_pem; /* owned, PKCS #8 */
};
void lh_cert_pair_done(struct lh_cert_pair *p);

/* Self-signed CA, valid from a minute ago. *out untouched on failure. */
int lh_x509_new_ca(const char *common_name, int64_t days, struct lh_cert_pair *out,
                   struct lh_err *err);
/* Server leaf for dns names or addresses (NULL-terminated), signed by ca. */
int lh_x509_new_leaf(const struct lh_cert_pair *ca, const char *const *dns_names, int64_t hours,
                     struct lh_cert_pair *out, struct lh_err *err);
/* Client leaf, signed by ca: for those who try client certificates. */
int lh_x509_new_client_leaf(const struct lh_cert_pair *ca, const char *common_name, int64_t hours,
                            struct lh_cert_pair *out, struct lh_err *err);

struct lh_cert_info {
    int64_t not_before_ms, not_after_ms; /* wall */
    char serial_hex[48];
    char fingerprint_hex[65]; /* SHA-256 of DER */
    int is_ca;
};
/* The first certificate of a PEM text. LH_E_INVALID. */
int lh_x509_info(struct lh_str pem, struct lh_cert_info *out, struct lh_err *err);
/* Certificates in a PEM bundle; LH_E_INVALID when one is broken or there is none. */
int lh_x509_bundle_count(struct lh_str pem, unsigned *out, struct lh_err *err);
/* Does the key belong to the certificate? LH_E_INVALID if not or unreadable. */
int lh_x509_pair_check(struct lh_str cert_pem, const struct lh_secret *key_pem, struct lh_err *err);
/* Is leaf signed by one of bundle, and valid at wall time now? LH_E_INVALID with why. */
int lh_x509_verify(struct lh_str leaf_pem, struct lh_str bundle_pem, struct lh_err *err);

#endif
