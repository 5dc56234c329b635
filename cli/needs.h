/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_NEEDS_H
#define LEASEHOLD_CLI_NEEDS_H

/*
 * What manifests need at the manager, gathered by login: one store, mount and role, with who logs
 * in so and what each of them reads. Sorted, so that the same manifests give the same text.
 */
#include "leasehold/api/projection.h"
#include "leasehold/api/store.h"
#include "leasehold/core/vec.h"

struct need_path {
    char *path; /* as a policy of the manager names it */
    const char *capability;
};

struct need_login {
    struct lh_store *store; /* one reference */
    char *namespace_, *mount,
        *role;           /* of the manager, filled in; namespace_ and role may be NULL */
    char **subjects;     /* "namespace/serviceaccount" */
    char **users;        /* "web.yaml:3: Deployment web" */
    struct lh_vec paths; /* struct need_path */
};

struct needs {
    struct lh_vec logins; /* struct need_login */
};

void needs_init(struct needs *n);
void needs_done(struct needs *n);
/* p's paths for who. user: who needs it, for people. LH_E_INVALID for placeholders without a value.
 */
int needs_add(struct needs *n, struct lh_store *s, const struct lh_projection *p,
              const struct lh_subject *who, const char *user, struct lh_err *err);
/* Sorts; then one policy and one role for each login. program: "vault" or "bao". */
void needs_write(struct needs *n, const char *program, struct lh_buf *b);

#endif
