/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "certs.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "metrics.h"

#define PEM_MAX ((size_t)256 * 1024)

struct cert_files {
    char *cert, *key;
    struct lh_dirwatch *watch;
    certs_pair_fn pair;
    void *arg;
    char *served; /* the certificate served now, to see a change */
};

static int load(struct cert_files *f, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *key = NULL;
    lh_auto_free char *cert = NULL;
    size_t n = 0;
    int rc;

    rc = lh_fs_read_at(AT_FDCWD, f->cert, PEM_MAX, &cert, &n, err);
    if (rc == 0)
        rc = lh_secret_read_at(AT_FDCWD, f->key, PEM_MAX, &key, err);
    if (rc < 0)
        return rc;
    if (f->served && strcmp(f->served, cert) == 0)
        return 0;
    /* Two files are not replaced at once: half of a change is no pair, the other half will be. */
    if (!f->pair(f->arg, (struct lh_str){cert, n}, key))
        return 0;
    lh_free(f->served);
    f->served = LH_TAKE_PTR(cert);
    return 0;
}

static void changed(void *arg)
{
    struct cert_files *f = arg;
    struct lh_err err = {0};

    if (load(f, &err) < 0) {
        lh_metric_add(&webhook_metrics[WEBHOOK_CERT_FAILURES], 1, LH_LABELS());
        lh_log_error("certificate files not readable, serving the last pair", LH_F_ERR(&err));
    }
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return lh_strdup(".");
    return slash == path ? lh_strdup("/") : lh_strndup(path, (size_t)(slash - path));
}

int cert_files_new(struct lh_loop *loop, const char *cert, const char *key, certs_pair_fn pair,
                   void *arg, struct cert_files **out, struct lh_err *err)
{
    struct cert_files *f = lh_calloc(1, sizeof(*f));
    lh_auto_free char *folder = folder_of(cert);
    int rc;

    if (!f || !folder) {
        lh_free(f);
        return lh_err_nomem(err);
    }
    f->pair = pair;
    f->arg = arg;
    f->cert = lh_strdup(cert);
    f->key = lh_strdup(key);
    rc = f->cert && f->key ? load(f, err) : lh_err_nomem(err);
    if (rc == 0)
        rc = lh_dirwatch_new(loop, folder, changed, f, &f->watch, err);
    if (rc < 0) {
        cert_files_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

void cert_files_free(struct cert_files *f)
{
    if (!f)
        return;
    lh_dirwatch_free(f->watch);
    lh_free(f->cert);
    lh_free(f->key);
    lh_free(f->served);
    lh_free(f);
}
