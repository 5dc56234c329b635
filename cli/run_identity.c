/* SPDX-License-Identifier: Apache-2.0 */
#include "run_identity.h"

#include <unistd.h>

#include "held.h"
#include "leasehold/api/reasons.h"

static int secret_of(const struct run_identity_options *o, const char *key, struct lh_secret **out,
                     struct lh_err *err)
{
    const struct lh_secret_ref *ref = &o->store->vault.auth.secret;
    int rc = lh_objects_secret(o->objects, o->store->namespace_, ref->name, key, out, err);

    if (rc < 0) {
        lh_err_wrap(err, rc, "%s \"%s\"", lh_store_kind(o->store), o->store->name);
        return lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    }
    return 0;
}

static int from_secret(struct run_identity *r, const struct run_identity_options *o,
                       struct lh_err *err)
{
    lh_auto_secret struct lh_secret *whole = NULL;
    struct lh_secret *secret = NULL;
    struct lh_str text;
    int rc = secret_of(o, o->store->vault.auth.secret.key, &whole, err);

    if (rc < 0)
        return rc;
    /* As the agent reads it from a file: a newline behind a token is an editor's, not the token's.
     */
    text = lh_str_trim((struct lh_str){lh_secret_expose_const(whole), lh_secret_len(whole)});
    rc = lh_secret_copy(text.p, text.n, &secret, err);
    return rc < 0 ? rc : cli_held_source(o->loop, secret, &r->id.credential, err);
}

static int memory_file(const struct run_identity_options *o, const char *key, int *fd,
                       char path[32], struct lh_err *err)
{
    lh_auto_secret struct lh_secret *secret = NULL;
    int rc = secret_of(o, key, &secret, err);

    if (rc < 0)
        return rc;
    return cli_held_file(secret, fd, path, err);
}

static int from_certificate(struct run_identity *r, const struct run_identity_options *o,
                            struct lh_err *err)
{
    int rc = memory_file(o, "tls.crt", &r->cert_fd, r->cert_path, err);

    if (rc == 0)
        rc = memory_file(o, "tls.key", &r->key_fd, r->key_path, err);
    r->id.cert_file = r->cert_path;
    r->id.key_file = r->key_path;
    return rc;
}

static int credential(struct run_identity *r, const struct run_identity_options *o,
                      struct lh_err *err)
{
    struct lh_store_auth *auth = &o->store->vault.auth;
    bool wants_jwt = auth->method == LH_AUTH_JWT || auth->method == LH_AUTH_KUBERNETES;

    if (o->token_file) {
        auth->method = LH_AUTH_TOKEN;
        return lh_token_source_file(o->loop, o->token_file, &r->id.credential, err);
    }
    if (o->jwt_file && !wants_jwt)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" logs in by another method than jwt or kubernetes: leave out "
                          "--auth-jwt-file",
                          lh_store_kind(o->store), o->store->name);
    if (wants_jwt && !o->jwt_file)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" logs in with a ServiceAccount's token: give one by "
                          "--auth-jwt-file, or a token of the manager by --auth-token-file",
                          lh_store_kind(o->store), o->store->name);
    if (wants_jwt)
        return lh_token_source_file(o->loop, o->jwt_file, &r->id.credential, err);
    return auth->method == LH_AUTH_CERT ? from_certificate(r, o, err) : from_secret(r, o, err);
}

int run_identity_init(struct run_identity *r, const struct run_identity_options *o,
                      struct lh_err *err)
{
    int rc;

    *r = (struct run_identity){.id = {.subject = o->subject,
                                      .namespace_labels = o->namespace_labels,
                                      .role = o->role,
                                      .ca_file = o->ca_file,
                                      .allow_loopback = true}};
    if (o->store->vault.ca_ref.name && !o->ca_file)
        return lh_err_set(err, LH_E_INVALID,
                          "%s \"%s\" takes its CA from a ConfigMap of the cluster: give --ca-file",
                          lh_store_kind(o->store), o->store->name);
    rc = credential(r, o, err);
    if (rc < 0)
        run_identity_done(r);
    return rc;
}

void run_identity_done(struct run_identity *r)
{
    if (r->id.credential)
        r->id.credential->free(r->id.credential);
    if (r->cert_fd > 0)
        close(r->cert_fd);
    if (r->key_fd > 0)
        close(r->key_fd);
    *r = (struct run_identity){0};
}
