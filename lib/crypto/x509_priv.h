/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_X509_PRIV_H
#define LH_X509_PRIV_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "leasehold/crypto/x509.h"

/* The first certificate of a PEM text; LH_E_INVALID. */
int x509_read_first(struct lh_str pem, X509 **out, struct lh_err *err);
int x509_read_key(const struct lh_secret *pem, EVP_PKEY **out, struct lh_err *err);
int x509_bio(struct lh_str text, BIO **out, struct lh_err *err);

static inline void x509_free_ptr_(X509 **x)
{
    X509_free(*x);
}
static inline void x509_key_free_ptr_(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
static inline void x509_bio_free_ptr_(BIO **b)
{
    BIO_free(*b);
}
#define auto_x509 __attribute__((cleanup(x509_free_ptr_)))
#define auto_key  __attribute__((cleanup(x509_key_free_ptr_)))
#define auto_bio  __attribute__((cleanup(x509_bio_free_ptr_)))

#endif
