/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMSV2_CLIENT_H
#define LEASEHOLD_KMSV2_CLIENT_H

/*
 * A KMS v2 plugin from the API server's side: Status, Encrypt and Decrypt over one connection to
 * its socket. Nothing is retried and nothing judged here: an answer that can be read is an answer.
 */
#include "leasehold/core/loop.h"
#include "leasehold/grpc/status.h"
#include "leasehold/kmsv2/messages.h"

struct lh_kmsv2_client;
struct lh_kmsv2_call;

/* Each once, from the loop; the answer is NULL if and only if err is set, both are borrowed until
 * return. status is the plugin's own word, also where the answer could not be read (OK then). The
 * err's text has at most 120 bytes of what the plugin said. */
typedef void (*lh_kmsv2_status_fn)(void *arg, enum lh_grpc_status status,
                                   const struct lh_kmsv2_status *answer, const struct lh_err *err);
typedef void (*lh_kmsv2_encrypt_fn)(void *arg, enum lh_grpc_status status,
                                    const struct lh_kmsv2_sealed *answer, const struct lh_err *err);
typedef void (*lh_kmsv2_decrypt_fn)(void *arg, enum lh_grpc_status status,
                                    const struct lh_secret *answer, const struct lh_err *err);

/* path: of the socket; copied. timeout_ms: of each call, connecting included; the API server's
 * default is 3000. */
int lh_kmsv2_client_new(struct lh_loop *loop, const char *path, unsigned timeout_ms,
                        struct lh_kmsv2_client **out, struct lh_err *err);
/* Cancels its calls; they do not call back. NULL is a no-op. */
void lh_kmsv2_client_free(struct lh_kmsv2_client *c);

/* Requests are copied. A start that fails does not call back. out may be NULL. */
int lh_kmsv2_start_status(struct lh_kmsv2_client *c, lh_kmsv2_status_fn done, void *arg,
                          struct lh_kmsv2_call **out, struct lh_err *err);
int lh_kmsv2_start_encrypt(struct lh_kmsv2_client *c, const struct lh_kmsv2_encrypt_request *req,
                           lh_kmsv2_encrypt_fn done, void *arg, struct lh_kmsv2_call **out,
                           struct lh_err *err);
int lh_kmsv2_start_decrypt(struct lh_kmsv2_client *c, const struct lh_kmsv2_decrypt_request *req,
                           lh_kmsv2_decrypt_fn done, void *arg, struct lh_kmsv2_call **out,
                           struct lh_err *err);
void lh_kmsv2_cancel(struct lh_kmsv2_call *call); /* NULL is a no-op */

#endif
