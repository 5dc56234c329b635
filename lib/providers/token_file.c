/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/providers/token_at_hand.h"

/* A ServiceAccount token has 1 to 2 KiB; a secret id less. */
#define CREDENTIAL_MAX (64 * 1024)

static int read_now(void *arg, const char *audience, struct lh_secret **out, struct lh_err *err)
{
    const char *path = arg;
    int rc = lh_secret_read_token(path, CREDENTIAL_MAX, out, err);

    (void)audience; /* whoever wrote the file chose it */
    if (rc < 0)
        lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    /* An empty file is filled later, as one that is not there yet: worth another try. */
    if (rc == -LH_E_INVALID) {
        err->code = LH_E_NOTFOUND;
        rc = -LH_E_NOTFOUND;
    }
    return rc;
}

int lh_token_source_file(struct lh_loop *loop, const char *path, struct lh_token_source **out,
                         struct lh_err *err)
{
    char *own = lh_strdup(path);

    return own ? lh_token_source_at_hand(loop, read_now, lh_free, own, out, err)
               : lh_err_nomem(err);
}
