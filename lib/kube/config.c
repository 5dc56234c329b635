/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as a value, and the one that every Pod has. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "kube_priv.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define POD_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

void lh_kube_config_done(struct lh_kube_config *c)
{
    lh_free(c->server);
    lh_free(c->ca_pem);
    lh_free(c->ca_file);
    lh_free(c->tls_server_name);
    lh_free(c->client_cert_pem);
    lh_free(c->client_cert_file);
    lh_free(c->client_key_file);
    lh_secret_free(c->client_key_pem);
    lh_secret_free(c->token);
    lh_free(c->token_file);
    lh_free(c->namespace_);
    *c = (struct lh_kube_config){0};
}

static bool copy_z(const char *from, char **to)
{
    *to = from ? lh_strdup(from) : NULL;
    return !from || *to;
}

static bool copy_secret(const struct lh_secret *from, struct lh_secret **to)
{
    return !from ||
           lh_secret_copy(lh_secret_expose_const(from), lh_secret_len(from), to, NULL) == 0;
}

int kube_config_copy(const struct lh_kube_config *from, struct lh_kube_config *out,
                     struct lh_err *err)
{
    struct lh_kube_config c = {0};

    if (!copy_z(from->server, &c.server) || !copy_z(from->ca_pem, &c.ca_pem) ||
        !copy_z(from->ca_file, &c.ca_file) || !copy_z(from->tls_server_name, &c.tls_server_name) ||
        !copy_z(from->client_cert_pem, &c.client_cert_pem) ||
        !copy_z(from->client_cert_file, &c.client_cert_file) ||
        !copy_z(from->client_key_file, &c.client_key_file) ||
        !copy_secret(from->client_key_pem, &c.client_key_pem) ||
        !copy_secret(from->token, &c.token) || !copy_z(from->token_file, &c.token_file) ||
        !copy_z(from->namespace_, &c.namespace_)) {
        lh_kube_config_done(&c);
        return lh_err_nomem(err);
    }
    *out = c;
    return 0;
}

static int read_namespace(const char *dir, char **out, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("%s/namespace", dir), *text = NULL;
    struct lh_str name;
    size_t n = 0;
    int rc;

    if (!path)
        return lh_err_nomem(err);
    rc = lh_fs_read_at(AT_FDCWD, path, 1024, &text, &n, err);
    if (rc < 0)
        return rc;
    name = lh_str_trim((struct lh_str){text, n});
    if (!lh_str_is_dns_label(name))
        return lh_err_set(err, LH_E_INVALID, "%s holds no namespace name", path);
    *out = lh_str_dup(name);
    return *out ? 0 : lh_err_nomem(err);
}

int kube_config_mounted(const char *dir, const char *host, const char *port,
                        struct lh_kube_config *out, struct lh_err *err)
{
    struct lh_kube_config c = {0};
    bool v6 = strchr(host, ':') != NULL;
    int rc;

    rc = read_namespace(dir, &c.namespace_, err);
    if (rc < 0)
        return rc;
    c.server = lh_asprintf(v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c.ca_file = lh_asprintf("%s/ca.crt", dir);
    c.token_file = lh_asprintf("%s/token", dir);
    if (!c.server || !c.ca_file || !c.token_file) {
        lh_kube_config_done(&c);
        return lh_err_nomem(err);
    }
    *out = c;
    return 0;
}

int lh_kube_config_in_cluster(struct lh_kube_config *out, struct lh_err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    int rc;

    if (!host || !*host || !port || !*port)
        return lh_err_set(err, LH_E_NOTFOUND,
                          "not in a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set");
    rc = kube_config_mounted(POD_DIR, host, port, out, err);
    return rc < 0 ? lh_err_wrap(err, rc, "ServiceAccount of the Pod") : 0;
}
