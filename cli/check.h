/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CHECK_H
#define LEASEHOLD_CLI_CHECK_H

/*
 * Does this ServiceAccount get this path? Each step that its Pod would go is gone here: store,
 * allow, token, reach, login, capabilities, read. A step is one line, ok or FAILED with what mends
 * it; the first that fails ends the rest. Never a value. The manager's token is revoked at the end.
 */
#include "leasehold/core/buf.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/config.h"

struct check_options {
    struct lh_loop *loop;
    const struct lh_kube_config *kube;
    const char *store; /* "[Kind/]NAME"; NULL: what admission would choose */
    const char *namespace_, *service_account;
    const char *path; /* "PATH" or "PATH#KEY"; NULL: up to the login */
    const char *role, *cluster;
    unsigned timeout_ms; /* of one step */
};

/* 0: *ok says whether all steps were. Negative: it could not even begin. */
int check_run(const struct check_options *o, struct lh_buf *out, bool *ok, struct lh_err *err);

#endif
