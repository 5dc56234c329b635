/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_PROVE_H
#define LEASEHOLD_CLI_AUDIT_PROVE_H

/* The canary: one Secret written through an API server, found in etcd's bytes, read back, removed.
 * It says what happens to a Secret that is written now, which no old object and no file says. */
#include "audit.h"
#include "leasehold/core/loop.h"
#include "leasehold/etcd/source.h"
#include "leasehold/kube/client.h"

struct audit_proving {
    struct lh_kube *kube;
    struct lh_etcd *etcd;   /* a running one */
    const char *namespace_; /* that the Secret is written to */
    const char *prefix;     /* as --etcd-prefix of kube-apiserver */
    unsigned timeout_ms;    /* of each answer */
};
/* Fills a->canary and a->proved. Whatever happens the Secret is removed, on SIGINT and SIGTERM too,
 * which end it with LH_E_GONE; where that fails the error names it. LH_E_INVALID: it is not in this
 * etcd, or came back as something else. */
int audit_prove(struct audit *a, struct lh_loop *loop, const struct audit_proving *with,
                struct lh_err *err);

#endif
