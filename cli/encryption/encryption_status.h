/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_ENCRYPTION_STATUS_H
#define LEASEHOLD_CLI_ENCRYPTION_STATUS_H

/* leasehold encryption status: what was found, what it means, and how it is said. */
#include "encryption.h"

struct status {
    const struct enc_options *o;
    struct enc_file f;
    struct enc_phases phases;
    struct enc_scan scan;
    bool asked; /* the API servers were */
    struct enc_servers servers;
};

/* "proven", "not-proven", "configured" */
const char *status_proof(const struct status *s);
/* Stored with another key than the one that writes, by the file or by what the servers say. */
bool status_is_stale(const struct status *s, const struct enc_count *c);
/* Whether the servers that answered say the same: of their configuration, and of each KMS key. */
bool status_agrees(const struct status *s);
/* Its last reload did not work: it goes on with what it had. */
bool status_reload_failed(const struct enc_server *s);
double status_metric(const struct enc_server *s, enum audit_metric m, const char *a);
/* Walks the names of KMS v2 providers, from 0 and 0; NULL at the end. */
const char *status_provider(const struct lh_atrest_config *c, size_t *rule, size_t *provider);

/* encryption_print.c */
void status_put_text(const struct status *s, struct lh_buf *b);
void status_put_json(const struct status *s, struct lh_buf *b);

#endif
