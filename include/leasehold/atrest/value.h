/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ATREST_VALUE_H
#define LEASEHOLD_ATREST_VALUE_H

/*
 * How a value that an API server stored in etcd is protected, told from its bytes and without any
 * key: the prefix of the provider that wrote it and, for KMS v2, the clear fields of the
 * EncryptedObject behind it (k8s.io/kms v2, apiserver storage/value/encrypt). Pure; nothing is
 * copied, nothing of the content is looked at but what tells the format.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/str.h"

/* The four protections that a secret of a cluster can have, best first. A stored value shows one of
 * the last three; external means that there is no value in etcd to begin with. */
enum lh_atrest_protection {
    LH_ATREST_EXTERNAL, /* held by an external manager, injected */
    LH_ATREST_KMS,      /* envelope, key never leaves the manager */
    LH_ATREST_LOCAL,    /* key in a file of the API server */
    LH_ATREST_NONE,     /* as good as clear text */
    LH_ATREST_PROTECTIONS,
};
const char *lh_atrest_protection_name(enum lh_atrest_protection p); /* "external", "kms", ... */

enum lh_atrest_scheme {
    LH_ATREST_FOREIGN,   /* no form an API server writes: counted as unprotected */
    LH_ATREST_UNKNOWN,   /* "k8s:enc:" of a provider or version that is not known here */
    LH_ATREST_IDENTITY,  /* protobuf "k8s\0", JSON "{", CBOR d9d9f7 */
    LH_ATREST_AESCBC,    /* k8s:enc:aescbc:v1:KEY: */
    LH_ATREST_AESGCM,    /* k8s:enc:aesgcm:v1:KEY: */
    LH_ATREST_SECRETBOX, /* k8s:enc:secretbox:v1:KEY: */
    LH_ATREST_KMS_V1,    /* k8s:enc:kms:v1:PROVIDER: */
    LH_ATREST_KMS_V2,    /* k8s:enc:kms:v2:PROVIDER: */
    LH_ATREST_SCHEMES,
};
/* "foreign", "unknown", "identity", "aescbc", "aesgcm", "secretbox", "kmsv1", "kmsv2" */
const char *lh_atrest_scheme_name(enum lh_atrest_scheme s);
/* Foreign counts as none; unknown as none too: what cannot be named is not proven. */
enum lh_atrest_protection lh_atrest_scheme_protection(enum lh_atrest_scheme s);

enum lh_atrest_form {
    LH_ATREST_WHOLE,      /* everything the format has was seen and fits */
    LH_ATREST_INCOMPLETE, /* scheme and name are known; the rest lies in bytes that were not given
                           */
    LH_ATREST_MALFORMED,  /* the scheme is known, the bytes are not what its writer writes */
};

/*
 * What is needed of a value: its length, its head, and for KMS v2 its tail. encryptedData is the
 * first field and as long as the object, so that key id, wrapped seed, annotations and type come
 * last. With head and tail of these sizes every value that an API server accepts is WHOLE; with
 * less, INCOMPLETE says so. They may overlap or be the same bytes; a whole value is a head alone.
 */
#define LH_ATREST_HEAD_BYTES 1536
#define LH_ATREST_TAIL_BYTES (36 * 1024)

struct lh_atrest_bytes {
    const void *head;
    size_t head_n; /* <= total */
    const void *tail;
    size_t tail_n; /* <= total: the last bytes of the value */
    size_t total;
};

#define LH_ATREST_ANNOTATIONS_MAX 64 /* the API server's limit is 32 KiB of names and values */

enum lh_atrest_dek_type { LH_ATREST_DEK_AES_GCM = 0, LH_ATREST_DEK_HKDF = 1 };

struct lh_atrest_value {
    enum lh_atrest_scheme scheme;
    enum lh_atrest_form form;
    const char *why;    /* static; NULL if WHOLE */
    struct lh_str name; /* key (local) or provider (KMS); empty otherwise. Borrowed from the head */
    size_t prefix_n;    /* bytes before the payload, 0 for identity and foreign */
    size_t payload_n;   /* of the ciphertext, nonces included; identity: the whole value */
    /* KMS, all borrowed from head or tail; empty where not seen. */
    struct lh_str key_id;     /* v2: public, at most 1024 bytes of UTF-8, not always printable */
    struct lh_str dek_source; /* v1, v2: wrapped key or seed; equal bytes mean one seed */
    enum lh_atrest_dek_type dek_type;
    size_t annotations;
};

/* Never fails: what cannot be read is FOREIGN, UNKNOWN or MALFORMED. A value past the limits of the
 * format (key id and wrapped seed 1024 bytes, annotations 32 KiB), with fields that are unknown,
 * doubled or cut off, or shorter than nonce and tag is MALFORMED. */
void lh_atrest_value_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out);

/* The same for a value that is all there. */
static inline void lh_atrest_value_read_all(struct lh_str value, struct lh_atrest_value *out)
{
    const struct lh_atrest_bytes in = {
        .head = value.p, .head_n = value.n, .tail = NULL, .tail_n = 0, .total = value.n};

    lh_atrest_value_read(&in, out);
}

#endif
