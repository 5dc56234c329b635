/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_SERVICE_H
#define LEASEHOLD_KMS_SERVICE_H

/*
 * Kubernetes' KMS v2 over a backend: Status from memory, Encrypt under the version that Status
 * advertises, Decrypt from the cache or once for all who ask for the same. Every call is answered
 * before the API server gives up, with a text that names the cause.
 *
 * What Status says (docs/decisions/008): "ok" while the key was confirmed in the last three
 * minutes; then a text with the last key_id, under which the API server goes on writing; an error,
 * which stops writes after three minutes, only where writing on would lose data: the key is
 * deleted, was made again, or went back.
 */
#include "backend.h"
#include "leasehold/core/buf.h"
#include "leasehold/grpc/server.h"

struct kms_service;

struct kms_service_options {
    struct lh_loop *loop;
    struct kms_backend *backend; /* owned from success on */
    struct kms_scope scope;      /* its texts are borrowed until free */
    struct kms_settle settle;
    size_t cache_entries;
    lh_ms cache_age_ms;
    lh_ms probe_ms; /* between looks at the key; half of it while a version settles */
};

int kms_service_new(const struct kms_service_options *o, struct kms_service **out,
                    struct lh_err *err);
/* Calls must have been answered before (lh_grpc_server_drain). NULL is a no-op. */
void kms_service_free(struct kms_service *s);
/* The first look; fn(arg) once, when the key was confirmed. */
void kms_service_start(struct kms_service *s, void (*ready)(void *arg), void *arg);

/* For lh_grpc_server_options.methods; arg is the service. */
extern const struct lh_grpc_method kms_methods[];

bool kms_service_is_ready(const struct kms_service *s);
/* Before metrics are written. */
void kms_service_measure(const struct kms_service *s);
/* JSON for /status: key ids, versions, ages, the last failure; no values. Appended. */
void kms_service_status(const struct kms_service *s, struct lh_buf *b);
/* Drops every seed, and answers all calls that wait. */
void kms_service_end(struct kms_service *s);

#endif
