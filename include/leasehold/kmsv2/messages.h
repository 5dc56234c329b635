/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMSV2_MESSAGES_H
#define LEASEHOLD_KMSV2_MESSAGES_H

/*
 * The messages of Kubernetes' KMS v2 service (KEP-3299, k8s.io/kms/apis/v2) as plain structs, for
 * both halves. A struct that a caller builds borrows everything; one that lh_kmsv2_read_*() filled
 * owns what it points to, in memory that is wiped, until its _done(). Plaintext is a struct
 * lh_secret and nothing else. Reading refuses text that is no UTF-8 or holds a NUL, and a map with
 * a key twice; whether the API server would take an answer is asked of the _check()s.
 */
#include <stddef.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"

#define LH_KMSV2_STATUS  "/v2.KeyManagementService/Status"
#define LH_KMSV2_ENCRYPT "/v2.KeyManagementService/Encrypt"
#define LH_KMSV2_DECRYPT "/v2.KeyManagementService/Decrypt"

/* What kube-apiserver takes at most (value/encrypt/envelope/kmsv2; the prose says "less than"). */
enum {
    LH_KMSV2_KEY_ID_MAX = 1024,
    LH_KMSV2_CIPHERTEXT_MAX = 1024,
    LH_KMSV2_ANNOTATIONS_MAX = 32 * 1024, /* names and values together */
    LH_KMSV2_SEED_BYTES = 32,         /* the plaintext of its Encrypts, and at least of Decrypts */
    LH_KMSV2_MESSAGE_MAX = 256 * 1024 /* a message that is longer has no business here */
};

struct lh_kmsv2_annotation {
    struct lh_str name, value; /* value: any bytes */
};

struct lh_kmsv2_status {
    struct lh_str version, healthz, key_id;
    void *held; /* not for callers */
};

/* What Encrypt answers, what is stored, and what comes back with Decrypt. */
struct lh_kmsv2_sealed {
    struct lh_str ciphertext, key_id;
    const struct lh_kmsv2_annotation *annotations;
    size_t n_annotations;
};

struct lh_kmsv2_encrypt_request {
    struct lh_secret *plaintext;
    struct lh_str uid; /* of the call, for logs */
    void *held;
};

struct lh_kmsv2_encrypt_response {
    struct lh_kmsv2_sealed sealed;
    void *held;
};

struct lh_kmsv2_decrypt_request {
    struct lh_kmsv2_sealed sealed;
    struct lh_str uid;
    void *held;
};

struct lh_kmsv2_decrypt_response {
    struct lh_secret *plaintext;
};

/* Appends the message. LH_E_NOMEM, LH_E_TOOBIG (b's cap). A NULL plaintext is an empty one. b holds
 * the plaintext afterwards where the message has one. */
int lh_kmsv2_put_status(struct lh_buf *b, const struct lh_kmsv2_status *m, struct lh_err *err);
int lh_kmsv2_put_encrypt_request(struct lh_buf *b, const struct lh_kmsv2_encrypt_request *m,
                                 struct lh_err *err);
int lh_kmsv2_put_encrypt_response(struct lh_buf *b, const struct lh_kmsv2_sealed *m,
                                  struct lh_err *err);
int lh_kmsv2_put_decrypt_request(struct lh_buf *b, const struct lh_kmsv2_decrypt_request *m,
                                 struct lh_err *err);
int lh_kmsv2_put_decrypt_response(struct lh_buf *b, const struct lh_secret *plaintext,
                                  struct lh_err *err);

/* bytes is not needed afterwards. LH_E_INVALID: not such a message. LH_E_TOOBIG: over
 * LH_KMSV2_MESSAGE_MAX. A Status request has no fields: only whether it can be read is asked. */
int lh_kmsv2_read_status_request(struct lh_str bytes, struct lh_err *err);
int lh_kmsv2_read_status(struct lh_str bytes, struct lh_kmsv2_status *out, struct lh_err *err);
int lh_kmsv2_read_encrypt_request(struct lh_str bytes, struct lh_kmsv2_encrypt_request *out,
                                  struct lh_err *err);
int lh_kmsv2_read_encrypt_response(struct lh_str bytes, struct lh_kmsv2_encrypt_response *out,
                                   struct lh_err *err);
int lh_kmsv2_read_decrypt_request(struct lh_str bytes, struct lh_kmsv2_decrypt_request *out,
                                  struct lh_err *err);
int lh_kmsv2_read_decrypt_response(struct lh_str bytes, struct lh_kmsv2_decrypt_response *out,
                                   struct lh_err *err);

/* Of what was read; zeroed structs are fine, and so is a second call. */
void lh_kmsv2_status_done(struct lh_kmsv2_status *m);
void lh_kmsv2_encrypt_request_done(struct lh_kmsv2_encrypt_request *m);
void lh_kmsv2_encrypt_response_done(struct lh_kmsv2_encrypt_response *m);
void lh_kmsv2_decrypt_request_done(struct lh_kmsv2_decrypt_request *m);
void lh_kmsv2_decrypt_response_done(struct lh_kmsv2_decrypt_response *m);

/* Would the API server take it? The text says which rule is broken; LH_E_INVALID, or LH_E_TOOBIG
 * where it is a size. Status: healthz other than "ok" is an answer, not an offence: not judged.
 * Sealed: ciphertext, key_id, annotation names (fully qualified domain names) and sizes. */
int lh_kmsv2_key_id_check(struct lh_str key_id, struct lh_err *err);
int lh_kmsv2_status_check(const struct lh_kmsv2_status *m, struct lh_err *err);
int lh_kmsv2_sealed_check(const struct lh_kmsv2_sealed *m, struct lh_err *err);

#endif
