/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_ENCRYPTION_REWRITE_H
#define LEASEHOLD_CLI_ENCRYPTION_REWRITE_H

/* leasehold encryption rewrite: what is written again, and the two ways in which it is. */
#include "encryption.h"

/* A resource that is served, and can be listed, read and updated. */
struct enc_resource {
    char *name;           /* owned: "secrets", "deployments.apps" */
    char *group, *plural; /* owned; group "" is the core's */
    char *base;           /* owned: "/api/v1", "/apis/apps/v1" */
};

/* encryption_discover.c: names as an EncryptionConfiguration has them ("secrets", "*.apps", "*.*")
 * become what is served, each once, in order. *out: struct enc_resource, to be ended by
 * enc_resources_done(). LH_E_NOTFOUND: one that is named is not served. */
int enc_discover(struct enc_api *a, const struct lh_vec *names, struct lh_vec *out,
                 struct lh_err *err);
void enc_resources_done(struct lh_vec *resources);

enum { ENC_LAST = 700, ENC_REFUSALS = 20 };

struct enc_rewrite {
    struct lh_loop *loop;
    struct enc_api *api;
    const char *method; /* "auto", "migration", "update" */
    const char *after;  /* RESOURCE/NAMESPACE/NAME or NULL */
    const char
        *digest;    /* of the configuration: migrations that were begun under another are let be */
    lh_ms poll_ms;  /* how often a migration is looked at */
    lh_ms start_ms; /* how long nobody may take it on */
    bool tty, json;
    bool stop;

    /* The resource at hand. */
    const struct enc_resource *res;
    char last[ENC_LAST]; /* NAMESPACE/NAME of the last that is done with; "" */
    bool migrated;
    size_t done, gone, conflicts, left;
    size_t refused;         /* objects whose update is not taken, over all resources */
    struct lh_vec refusals; /* char *, owned: which, and how; ENC_REFUSALS at most */
};

/* All of resources (struct enc_resource). said: what there is to say. */
int enc_rewrite_run(struct enc_rewrite *r, const struct lh_vec *resources, struct lh_buf *said,
                    struct lh_err *err);

/* encryption_update.c: every object read and written back. */
int enc_update(struct enc_rewrite *r, struct lh_err *err);
/* encryption_migrate.c: the cluster's own StorageVersionMigration. *instead: why it is to be done
 * by updates (static; NULL: it is done). */
int enc_migrate(struct enc_rewrite *r, const char **instead, struct lh_err *err);

#endif
