/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_VAULT_ANSWER_H
#define LEASEHOLD_PROVIDERS_VAULT_ANSWER_H

/* The body of a good answer, as the typed results of provider.h. Pure; texts are borrowed from the
 * JSON or live in the caller's buffer. Times sent_at and done_at are the caller's. */
#include "leasehold/codec/json.h"
#include "leasehold/providers/provider.h"

struct lh_vault_texts { /* what a result points at and the JSON does not hold */
    char version[24];
};

/* The answer of a read or of a write with params. kv2: the mount is KV v2 and this its data/. */
int lh_vault_answer_read(const lh_json *json, bool kv2, struct lh_vault_texts *texts,
                         struct lh_prov_read *out, struct lh_err *err);
/* GET MOUNT/metadata/PATH. now_wall_ms: a deletion_time in the future has not happened. */
int lh_vault_answer_version(const lh_json *json, int64_t now_wall_ms, struct lh_vault_texts *texts,
                            struct lh_prov_version *out, struct lh_err *err);
/* A login's auth block; out->token is not set: *token is borrowed text, checked to be a token. */
int lh_vault_answer_login(const lh_json *json, struct lh_prov_token *out, struct lh_str *token,
                          struct lh_err *err);
/* Renewal of a lease, of a token; look-up of a lease, of the token itself. */
int lh_vault_answer_lease_renewed(const lh_json *json, struct lh_prov_life *out,
                                  struct lh_err *err);
int lh_vault_answer_token_renewed(const lh_json *json, struct lh_prov_life *out,
                                  struct lh_err *err);
int lh_vault_answer_looked_up(const lh_json *json, bool token, struct lh_prov_life *out,
                              struct lh_err *err);
/* sys/health under each of its status codes. */
int lh_vault_answer_health(int status, const lh_json *json, struct lh_prov_health *out,
                           struct lh_err *err);

struct lh_vault_mount_fact {
    struct lh_str path; /* with the slash at its end, as the server says it */
    bool kv, kv2;
};
/* sys/internal/ui/mounts/PATH; LH_E_INVALID when the mount does not hold asked. */
int lh_vault_answer_mount(const lh_json *json, struct lh_str asked, struct lh_vault_mount_fact *out,
                          struct lh_err *err);

/* What may stand in a header as a token: 1 to 8192 printable ASCII bytes, no space. */
bool lh_vault_token_ok(struct lh_str token);

#endif
