/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_SHARED_LOGIN_H
#define LEASEHOLD_CONTROLLER_CLUSTER_SHARED_LOGIN_H

/*
 * One login for all projections of one identity (store, namespace, ServiceAccount, role) that hold
 * no lease: one token, renewed, looked up and revoked once, one connection pool, one knowledge of
 * mounts, one health probe at a time. Ten thousand projections of an account cost one login and one
 * record of the ledger instead of ten thousand, and some hundred bytes each.
 *
 * It stands before a provider and is one to the engine, which goes on as if it were alone. What
 * issues leases must not be opened over it: one revoke-self of the shared token would take them
 * all.
 *
 * The last user's end does not revoke at once: the token lingers, since projections of an account
 * are replaced (an edit, a GitOps sync) more often than all of them go for good, and each round
 * would cost a login, a revocation and two writes of the ledger.
 */
#include "leasehold/api/projection.h"
#include "leasehold/core/metrics.h"
#include "leasehold/providers/provider.h"

enum { SHARED_LOGIN_LINGER_MS = 30 * 1000 };

struct shared_logins;
struct ledger;

struct shared_login_options {
    struct lh_loop *loop;
    const struct lh_provider_ops *provider; /* what it stands before; NULL: by the store */
    /* Set: provider is ledger_provider_ops, and logins are recorded under LEDGER_SHARED_UID. */
    struct ledger *ledger;
    /* The source of an identity's tokens; owned by us, freed by its own free. It outlives the
     * projection that came first. */
    int (*credential)(void *arg, struct lh_store *store, const struct lh_subject *who,
                      struct lh_token_source **out, struct lh_err *err);
    void *arg;
};

int shared_logins_new(const struct shared_login_options *opts, struct shared_logins **out,
                      struct lh_err *err);
/* Revokes nothing. Every provider opened over it must be closed before. NULL is a no-op. */
void shared_logins_free(struct shared_logins *s);

/* May this projection share? Every item is a plain read below kv2Mounts, and the account's own
 * token is what it logs in with. Pure. */
bool shared_login_fits(const struct lh_store *store, const struct lh_projection *p);

/* While set, tokens do not linger: nobody is expected to come back. */
void shared_logins_hurry(struct shared_logins *s, bool hurry);

struct shared_logins_info {
    size_t groups, users; /* identities; projections that share them */
};
void shared_logins_info(const struct shared_logins *s, struct shared_logins_info *out);

/* Operations that share: identity.wrapper is a struct shared_logins; identity.credential is not
 * used. LH_E_INVALID from open for a store whose logins are not by account. */
extern const struct lh_provider_ops shared_login_ops;

/* Registered by shared_logins_new. */
extern const struct lh_metric shared_login_metrics[];

#endif
