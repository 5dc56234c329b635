/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubeconfig files (the Config kind of client-go's clientcmd v1). Several are merged as kubectl
 * does: whoever names something first has it. What would run a program or weaken TLS is refused.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "kube_priv.h"
#include "leasehold/codec/base64.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"

enum { MAX_FILE = 1 << 20 };

struct file {
    char *path;
    lh_json *doc;
};

struct files {
    struct lh_vec v; /* of struct file */
    struct lh_err *err;
};

/* A cluster, context or user, and the file that it stands in. */
struct entry {
    const char *name;
    const struct file *file;
    const lh_json *value;
};

static void files_done(struct files *f)
{
    for (size_t i = 0; i < f->v.n; i++) {
        struct file *file = lh_vec_at(&f->v, i);

        lh_free(file->path);
        lh_json_unref(file->doc);
    }
    lh_vec_done(&f->v);
}

static int parse_file(struct files *f, const char *path, struct lh_str text)
{
    struct lh_yaml_doc *docs = NULL;
    struct file file = {NULL, NULL};
    size_t n = 0;
    int rc;

    rc = lh_yaml_parse(text, path, NULL, &docs, &n, f->err);
    if (rc < 0)
        return rc;
    if (n == 1 && lh_json_type(docs[0].value) == LH_JSON_OBJECT) {
        file = (struct file){lh_strdup(path), lh_json_ref(docs[0].value)};
        if (!file.path || !lh_vec_push(&f->v, &file)) {
            lh_free(file.path);
            lh_json_unref(file.doc);
            rc = lh_err_nomem(f->err);
        }
    } else if (n > 0) {
        rc = lh_err_set(f->err, LH_E_INVALID, "%s is no kubeconfig: not one mapping", path);
    }
    lh_yaml_free(docs, n);
    return rc;
}

static int add_file(struct files *f, const char *path, bool may_miss)
{
    lh_auto_free char *text = NULL;
    struct lh_err local = {0};
    size_t n = 0;
    int rc;

    rc = lh_fs_read_at(AT_FDCWD, path, MAX_FILE, &text, &n, &local);
    if (rc == -LH_E_NOTFOUND && may_miss)
        return 0;
    if (rc < 0) {
        if (f->err)
            *f->err = local;
        return lh_err_wrap(f->err, rc, "kubeconfig");
    }
    return parse_file(f, path, (struct lh_str){text, n});
}

/* As kubectl: of several files some may be missing, of one named alone none. */
static int add_list(struct files *f, const char *list)
{
    struct lh_str rest = lh_str(list), one;
    bool several = strchr(list, ':') != NULL, more = true;

    while (more) {
        lh_auto_free char *path = NULL;
        int rc;

        more = lh_str_cut(rest, ':', &one, &rest);
        if (one.n == 0)
            continue;
        path = lh_str_dup(one);
        if (!path)
            return lh_err_nomem(f->err);
        rc = add_file(f, path, several);
        if (rc < 0)
            return rc;
    }
    if (f->v.n == 0)
        return lh_err_set(f->err, LH_E_NOTFOUND, "kubeconfig: none of %s holds anything", list);
    return 0;
}

/* list: "clusters", kind: "cluster". */
static int find(struct files *f, const char *list, const char *kind, const char *name,
                struct entry *out)
{
    for (size_t i = 0; i < f->v.n; i++) {
        const struct file *file = lh_vec_at(&f->v, i);
        const lh_json *all = lh_json_get(file->doc, list);

        for (size_t k = 0; k < lh_json_len(all); k++) {
            const lh_json *one = lh_json_at(all, k);
            const char *its = lh_json_get_z(one, "name");

            if (its && strcmp(its, name) == 0) {
                *out = (struct entry){its, file, lh_json_get(one, kind)};
                return 0;
            }
        }
    }
    return lh_err_set(f->err, LH_E_NOTFOUND, "kubeconfig: there is no %s \"%s\"", kind, name);
}

static const char *current_context(const struct files *f)
{
    for (size_t i = 0; i < f->v.n; i++) {
        const struct file *file = lh_vec_at(&f->v, i);
        const char *name = lh_json_get_z(file->doc, "current-context");

        if (name && *name)
            return name;
    }
    return NULL;
}

static int refuse(struct files *f, const struct entry *e, const char *kind, const char *why)
{
    return lh_err_set(f->err, LH_E_INVALID, "%s: %s \"%s\" %s", e->file->path, kind, e->name, why);
}

/* A member's text; absent or empty: NULL. */
static int copy_text(struct files *f, const struct entry *e, const char *key, char **out)
{
    const char *z = lh_json_get_z(e->value, key);

    if (!z || !*z)
        return 0;
    *out = lh_strdup(z);
    return *out ? 0 : lh_err_nomem(f->err);
}

/* A file's name, which is relative to the kubeconfig that names it. */
static int copy_path(struct files *f, const struct entry *e, const char *key, char **out)
{
    const char *z = lh_json_get_z(e->value, key), *slash = strrchr(e->file->path, '/');

    if (!z || !*z)
        return 0;
    if (*z == '/' || !slash)
        *out = lh_strdup(z);
    else
        *out = lh_asprintf("%.*s/%s", (int)(slash - e->file->path), e->file->path, z);
    return *out ? 0 : lh_err_nomem(f->err);
}

/* "<key>-data": base64 of PEM. */
static int copy_data(struct files *f, const struct entry *e, const char *key, char **out)
{
    const char *z = lh_json_get_z(e->value, key);
    lh_auto_buf struct lh_buf b = {0};
    size_t n;
    int rc;

    if (!z || !*z)
        return 0;
    lh_buf_init(&b, MAX_FILE);
    rc = lh_base64_decode(lh_str(z), &b, f->err);
    if (rc == 0)
        rc = lh_buf_finish(&b, out, &n, f->err);
    return rc < 0 ? lh_err_wrap(f->err, rc, "%s: %s of \"%s\"", e->file->path, key, e->name) : 0;
}

static int check_server(struct files *f, const struct entry *e, char *server)
{
    size_t n = server ? strlen(server) : 0;

    if (n == 0)
        return refuse(f, e, "cluster", "has no server");
    if (strncmp(server, "https://", 8) != 0)
        return refuse(f, e, "cluster", "has a server that is not https://");
    if (strpbrk(server, "@?# ") || server[8] == '/' || server[8] == '\0')
        return refuse(f, e, "cluster", "has a server that is not https://HOST[:PORT][/PATH]");
    while (n > 8 && server[n - 1] == '/')
        server[--n] = '\0';
    return 0;
}

static const char *system_roots(void)
{
    static const char *const known[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

    for (size_t i = 0; i < LH_ARRAY_LEN(known); i++) {
        if (access(known[i], R_OK) == 0)
            return known[i];
    }
    return NULL;
}

static int read_cluster(struct files *f, const struct entry *e, struct lh_kube_config *c)
{
    int rc;

    if (lh_json_get_bool(e->value, "insecure-skip-tls-verify", false))
        return refuse(f, e, "cluster",
                      "switches off the check of the server's certificate, which is not supported: "
                      "set certificate-authority");
    if (lh_json_get_z(e->value, "proxy-url"))
        return refuse(f, e, "cluster", "is behind a proxy, which is not supported");
    rc = copy_text(f, e, "server", &c->server);
    if (rc == 0)
        rc = check_server(f, e, c->server);
    if (rc == 0)
        rc = copy_text(f, e, "tls-server-name", &c->tls_server_name);
    if (rc == 0)
        rc = copy_data(f, e, "certificate-authority-data", &c->ca_pem);
    if (rc == 0 && !c->ca_pem)
        rc = copy_path(f, e, "certificate-authority", &c->ca_file);
    if (rc < 0)
        return rc;
    if (!c->ca_pem && !c->ca_file && system_roots()) {
        c->ca_file = lh_strdup(system_roots());
        if (!c->ca_file)
            return lh_err_nomem(f->err);
    }
    return 0;
}

static const struct refused {
    const char *key, *why;
} refused[] = {
    {"exec", "gets its credentials from a program (exec), which is not supported: use a token, as "
             "`kubectl create token` prints it, or a client certificate"},
    {"auth-provider", "uses an auth-provider, which is not supported: use a token or a client "
                      "certificate"},
    {"username", "uses a password, which Kubernetes does not take any more: use a token"},
    {"as", "acts as somebody else (as), which is not supported"},
};

/* Secrets go into their slots; the copies on the way are wiped by the allocator. */
static int read_key(struct files *f, const struct entry *e, struct lh_kube_config *c)
{
    lh_auto_free char *pem = NULL;
    int rc = copy_data(f, e, "client-key-data", &pem);

    if (rc == 0 && pem)
        rc = lh_secret_copy(pem, strlen(pem), &c->client_key_pem, f->err);
    if (rc == 0 && !pem)
        rc = copy_path(f, e, "client-key", &c->client_key_file);
    return rc;
}

/* token goes before tokenFile in a file that has both: client-go reads the file again and again. */
static int read_token(struct files *f, const struct entry *e, struct lh_kube_config *c)
{
    const char *z = lh_json_get_z(e->value, "token");
    int rc = copy_path(f, e, "tokenFile", &c->token_file);

    if (rc == 0 && !c->token_file && z && *z)
        rc = lh_secret_copy(z, strlen(z), &c->token, f->err);
    return rc;
}

static int read_user(struct files *f, const struct entry *e, struct lh_kube_config *c)
{
    int rc;

    for (size_t i = 0; i < LH_ARRAY_LEN(refused); i++) {
        if (lh_json_type(lh_json_get(e->value, refused[i].key)) != LH_JSON_NULL)
            return refuse(f, e, "user", refused[i].why);
    }
    rc = copy_data(f, e, "client-certificate-data", &c->client_cert_pem);
    if (rc == 0 && !c->client_cert_pem)
        rc = copy_path(f, e, "client-certificate", &c->client_cert_file);
    if (rc == 0)
        rc = read_key(f, e, c);
    if (rc < 0)
        return rc;
    if ((c->client_cert_pem || c->client_cert_file) != (c->client_key_pem || c->client_key_file))
        return refuse(f, e, "user", "has a client certificate or key without the other");
    if ((c->client_cert_pem != NULL) != (c->client_key_pem != NULL))
        return refuse(f, e, "user",
                      "has one of client certificate and key as data, the other as a "
                      "file, which is not supported");
    return read_token(f, e, c);
}

static int read_context(struct files *f, const char *name, struct lh_kube_config *c)
{
    const char *cluster, *user, *ns;
    struct entry context, e;
    int rc;

    if (!name)
        name = current_context(f);
    if (!name)
        return lh_err_set(f->err, LH_E_NOTFOUND,
                          "kubeconfig names no current-context: choose one with --context");
    rc = find(f, "contexts", "context", name, &context);
    if (rc < 0)
        return rc;
    cluster = lh_json_get_z(context.value, "cluster");
    user = lh_json_get_z(context.value, "user");
    ns = lh_json_get_z(context.value, "namespace");
    if (!cluster)
        return refuse(f, &context, "context", "names no cluster");
    rc = find(f, "clusters", "cluster", cluster, &e);
    if (rc == 0)
        rc = read_cluster(f, &e, c);
    if (rc == 0 && user && *user) {
        rc = find(f, "users", "user", user, &e);
        if (rc == 0)
            rc = read_user(f, &e, c);
    }
    if (rc < 0)
        return rc;
    c->namespace_ = lh_strdup(ns && *ns ? ns : "default");
    return c->namespace_ ? 0 : lh_err_nomem(f->err);
}

static int load_home(struct files *f)
{
    const char *home = getenv("HOME");
    lh_auto_free char *path = NULL;

    if (!home || !*home)
        return lh_err_set(f->err, LH_E_NOTFOUND,
                          "no API server: set KUBECONFIG, or name a file with --kubeconfig");
    path = lh_asprintf("%s/.kube/config", home);
    return path ? add_file(f, path, false) : lh_err_nomem(f->err);
}

int lh_kube_config_load(const char *path, const char *context, struct lh_kube_config *out,
                        struct lh_err *err)
{
    const char *list = getenv("KUBECONFIG"), *host = getenv("KUBERNETES_SERVICE_HOST");
    struct lh_kube_config c = {0};
    struct files f = {.err = err};
    int rc;

    if (!path && !(list && *list) && host && *host && !context)
        return lh_kube_config_in_cluster(out, err);
    lh_vec_init(&f.v, sizeof(struct file));
    if (path)
        rc = add_file(&f, path, false);
    else if (list && *list)
        rc = add_list(&f, list);
    else
        rc = load_home(&f);
    if (rc == 0)
        rc = read_context(&f, context, &c);
    files_done(&f);
    if (rc < 0) {
        lh_kube_config_done(&c);
        return rc;
    }
    *out = c;
    return 0;
}
