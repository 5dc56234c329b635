/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include <fcntl.h>
#include <string.h>

#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

enum { STORE_MAX = 1024 * 1024 };

static int load_store(const char *path, struct lh_store **out, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0, count = 0;
    int rc = lh_fs_read_at(AT_FDCWD, path, STORE_MAX, &text, &n, err);

    if (rc < 0)
        return rc;
    rc = lh_yaml_parse((struct lh_str){text, n}, path, NULL, &docs, &count, err);
    if (rc < 0)
        return rc;
    if (count != 1)
        rc = lh_err_set(err, LH_E_INVALID, "%s must hold one SecretStore, and nothing else", path);
    else
        rc = lh_store_parse(docs[0].value, path, out, err);
    lh_yaml_free(docs, count);
    if (rc == 0 && (*out)->cluster_scoped) {
        lh_store_unref(*out);
        *out = NULL;
        rc = lh_err_set(err, LH_E_INVALID,
                        "%s: write a SecretStore: a ClusterSecretStore is for Pods", path);
    }
    return rc;
}

static int in_folder(const struct kms_options *o, const char *name, char **out, struct lh_err *err)
{
    if (!o->credentials)
        return lh_err_set(err, LH_E_INVALID,
                          "the store's auth method needs --credentials DIR with the file \"%s\"",
                          name);
    *out = lh_asprintf("%s/%s", o->credentials, name);
    return *out ? 0 : lh_err_nomem(err);
}

static int from_file(struct kms_identity *k, struct lh_loop *loop, const struct kms_options *o,
                     struct lh_err *err)
{
    const char *name = k->store->vault.auth.secret.key;
    lh_auto_free char *path = NULL;
    int rc;

    /* A role without bind_secret_id. */
    if (!name)
        return 0;
    rc = in_folder(o, name, &path, err);
    return rc < 0 ? rc : lh_token_source_file(loop, path, &k->id.credential, err);
}

static int from_certificate(struct kms_identity *k, const struct kms_options *o, struct lh_err *err)
{
    int rc = in_folder(o, "tls.crt", &k->cert_file, err);

    if (rc == 0)
        rc = in_folder(o, "tls.key", &k->key_file, err);
    k->id.cert_file = k->cert_file;
    k->id.key_file = k->key_file;
    return rc;
}

static int credential(struct kms_identity *k, struct lh_loop *loop, const struct kms_options *o,
                      struct lh_err *err)
{
    switch (k->store->vault.auth.method) {
    case LH_AUTH_KUBERNETES:
        return lh_err_set(err, LH_E_INVALID,
                          "%s: auth.kubernetes asks the API server, which waits for us: use jwt, "
                          "appRole or cert",
                          o->store);
    case LH_AUTH_JWT:
        if (!o->jwt_file)
            return lh_err_set(err, LH_E_INVALID, "the store's auth.jwt needs --jwt-file FILE");
        return lh_token_source_file(loop, o->jwt_file, &k->id.credential, err);
    case LH_AUTH_APPROLE:
    case LH_AUTH_TOKEN:
        return from_file(k, loop, o, err);
    case LH_AUTH_CERT:
        return from_certificate(k, o, err);
    }
    return lh_err_set(err, LH_E_INVALID, "unknown auth method");
}

int kms_identity_init(struct kms_identity *k, struct lh_loop *loop, const struct kms_options *o,
                      struct lh_err *err)
{
    int rc;

    *k = (struct kms_identity){0};
    rc = load_store(o->store, &k->store, err);
    if (rc < 0)
        return rc;
    k->id = (struct lh_identity){.subject = {.cluster = o->cluster,
                                             .namespace_ = k->store->namespace_,
                                             .service_account = "leasehold-kms"},
                                 .ca_file = o->ca_file,
                                 .allow_loopback = true};
    if (k->store->vault.ca_ref.name && !o->ca_file)
        rc =
            lh_err_set(err, LH_E_INVALID,
                       "%s takes its CA from a ConfigMap of the cluster: give --ca-file", o->store);
    if (rc == 0)
        rc = credential(k, loop, o, err);
    if (rc < 0)
        kms_identity_done(k);
    return rc;
}

void kms_identity_done(struct kms_identity *k)
{
    if (k->id.credential)
        k->id.credential->free(k->id.credential);
    lh_store_unref(k->store);
    lh_free(k->cert_file);
    lh_free(k->key_file);
    *k = (struct kms_identity){0};
}
