/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

/* As Kubernetes names them in a Secret of type kubernetes.io/tls. */
#define CERT_KEY "tls.crt"
#define KEY_KEY  "tls.key"

static int join(const char *dir, const char *name, char **out, struct lh_err *err)
{
    *out = lh_asprintf("%s/%s", dir, name);
    return *out ? 0 : lh_err_nomem(err);
}

static int missing(const struct lh_agentcfg *cfg, const char *field, struct lh_err *err)
{
    int rc =
        lh_err_set(err, LH_E_INVALID, "%s \"%s\": its auth method needs %s in the configuration",
                   lh_store_kind(cfg->store), cfg->store->name, field);

    return lh_err_reason(err, rc, LH_REASON_ConfigInvalid);
}

static int from_secret(struct agent_identity *a, struct lh_loop *loop,
                       const struct lh_agentcfg *cfg, struct lh_err *err)
{
    lh_auto_free char *path = NULL;
    int rc;

    if (!cfg->credential_path)
        return missing(cfg, "credentialPath", err);
    rc = join(cfg->credential_path, cfg->store->vault.auth.secret.key, &path, err);
    return rc < 0 ? rc : lh_token_source_file(loop, path, &a->id.credential, err);
}

static int from_certificate(struct agent_identity *a, const struct lh_agentcfg *cfg,
                            struct lh_err *err)
{
    int rc;

    if (!cfg->credential_path)
        return missing(cfg, "credentialPath", err);
    rc = join(cfg->credential_path, CERT_KEY, &a->cert_file, err);
    if (rc == 0)
        rc = join(cfg->credential_path, KEY_KEY, &a->key_file, err);
    a->id.cert_file = a->cert_file;
    a->id.key_file = a->key_file;
    return rc;
}

static int credential(struct agent_identity *a, struct lh_loop *loop, const struct lh_agentcfg *cfg,
                      struct lh_err *err)
{
    switch (cfg->store->vault.auth.method) {
    case LH_AUTH_JWT:
    case LH_AUTH_KUBERNETES:
        if (!cfg->token_file)
            return missing(cfg, "tokenFile", err);
        return lh_token_source_file(loop, cfg->token_file, &a->id.credential, err);
    case LH_AUTH_APPROLE:
    case LH_AUTH_TOKEN:
        return from_secret(a, loop, cfg, err);
    case LH_AUTH_CERT:
        return from_certificate(a, cfg, err);
    }
    return lh_err_set(err, LH_E_INVALID, "unknown auth method");
}

int agent_identity_init(struct agent_identity *a, struct lh_loop *loop,
                        const struct lh_agentcfg *cfg, bool allow_loopback, struct lh_err *err)
{
    const struct lh_store_vault *v = &cfg->store->vault;
    int rc;

    *a =
        (struct agent_identity){.id = {.subject = {.cluster = cfg->cluster,
                                                   .namespace_ = cfg->namespace_,
                                                   .service_account = cfg->service_account},
                                       .namespace_labels = cfg->namespace_labels,
                                       .role = cfg->projection->role,
                                       .allow_addresses = (const char *const *)cfg->allow_addresses,
                                       .allow_loopback = allow_loopback}};
    rc = credential(a, loop, cfg, err);
    if (rc == 0 && v->ca_ref.name) {
        if (!cfg->ca_path)
            rc = missing(cfg, "caPath", err);
        else
            rc = join(cfg->ca_path, v->ca_ref.key, &a->ca_file, err);
        a->id.ca_file = a->ca_file;
    }
    if (rc < 0)
        agent_identity_done(a);
    return rc;
}

void agent_identity_done(struct agent_identity *a)
{
    if (a->id.credential)
        a->id.credential->free(a->id.credential);
    lh_free(a->cert_file);
    lh_free(a->key_file);
    lh_free(a->ca_file);
    *a = (struct agent_identity){0};
}
