/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "identity.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static int missing(struct lh_err *err, const char *field, const char *why)
{
    return lh_err_reason(
        err, lh_err_set(err, LH_E_INVALID, "configuration: %s is needed: %s", field, why),
        LH_REASON_ConfigInvalid);
}

static int join(const char *folder, const char *file, char **out, struct lh_err *err)
{
    *out = lh_asprintf("%s/%s", folder, file);
    return *out ? 0 : lh_err_nomem(err);
}

static int token_file(struct agent_identity *a, struct lh_loop *loop, const char *path,
                      struct lh_err *err)
{
    return lh_token_source_file(loop, path, &a->credential, err);
}

static int from_secret(struct agent_identity *a, struct lh_loop *loop,
                       const struct lh_agentcfg *cfg, const struct lh_store_auth *auth,
                       struct lh_err *err)
{
    lh_auto_free char *path = NULL;
    int rc;

    if (!cfg->credential_path)
        return missing(err, "credentialPath", "the store logs in with a Secret");
    if (auth->method == LH_AUTH_CERT) {
        rc = join(cfg->credential_path, "tls.crt", &a->cert_file, err);
        if (rc == 0)
            rc = join(cfg->credential_path, "tls.key", &a->key_file, err);
        a->id.cert_file = a->cert_file;
        a->id.key_file = a->key_file;
        return rc;
    }
    rc = join(cfg->credential_path, auth->secret.key, &path, err);
    return rc < 0 ? rc : token_file(a, loop, path, err);
}

static int credential(struct agent_identity *a, struct lh_loop *loop, const struct lh_agentcfg *cfg,
                      struct lh_err *err)
{
    const struct lh_store_auth *auth = &cfg->store->vault.auth;

    if (auth->method != LH_AUTH_JWT && auth->method != LH_AUTH_KUBERNETES)
        return from_secret(a, loop, cfg, auth, err);
    if (!cfg->token_file)
        return missing(err, "tokenFile", "the store logs in with a ServiceAccount token");
    return token_file(a, loop, cfg->token_file, err);
}

int agent_identity_init(struct agent_identity *a, struct lh_loop *loop,
                        const struct lh_agentcfg *cfg, bool allow_loopback, struct lh_err *err)
{
    int rc;

    memset(a, 0, sizeof(*a));
    a->id.subject = (struct lh_subject){cfg->cluster, cfg->namespace_, cfg->service_account};
    a->id.namespace_labels = cfg->namespace_labels;
    a->id.role = cfg->projection->role;
    a->id.allow_addresses = (const char *const *)cfg->allow_addresses;
    a->id.allow_loopback = allow_loopback;
    rc = credential(a, loop, cfg, err);
    if (rc == 0 && cfg->store->vault.ca_ref.name) {
        rc = cfg->ca_path ? join(cfg->ca_path, cfg->store->vault.ca_ref.key, &a->ca_file, err)
                          : missing(err, "caPath", "the store names a caBundleRef");
        a->id.ca_file = a->ca_file;
    }
    if (rc < 0) {
        agent_identity_done(a);
        return rc;
    }
    a->id.credential = a->credential;
    return 0;
}

void agent_identity_done(struct agent_identity *a)
{
    if (a->credential)
        a->credential->free(a->credential);
    lh_free(a->cert_file);
    lh_free(a->key_file);
    lh_free(a->ca_file);
    memset(a, 0, sizeof(*a));
}
