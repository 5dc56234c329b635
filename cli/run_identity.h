/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_RUN_IDENTITY_H
#define LEASEHOLD_CLI_RUN_IDENTITY_H

/*
 * Who `leasehold run` is at the manager: the credential of a flag, or of the Secret that the store
 * names, from the YAML files. What must be a file for TLS is a memory file; nothing goes to disk.
 */
#include "leasehold/objects/objects.h"
#include "leasehold/providers/provider.h"

struct run_identity_options {
    struct lh_loop *loop;
    const struct lh_objects *objects;
    struct lh_store *store; /* with a token file its method becomes token */
    const char *token_file, *jwt_file, *ca_file, *role;
    const lh_json *namespace_labels;
    struct lh_subject subject;
};

struct run_identity {
    struct lh_identity id; /* what it points to is borrowed from the options */
    int cert_fd, key_fd;   /* memory files; 0: none */
    char cert_path[32], key_path[32];
};

int run_identity_init(struct run_identity *r, const struct run_identity_options *o,
                      struct lh_err *err);
void run_identity_done(struct run_identity *r);

#endif
