/* SPDX-License-Identifier: Apache-2.0 */
/* init, and the file as the other verbs need it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "encryption.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define TEXT_MAX ((size_t)2 * LH_ATREST_CONFIG_MAX_BYTES)

void enc_file_done(struct enc_file *f)
{
    lh_free(f->text);
    if (!f->is_read)
        return;
    lh_atrest_config_done(&f->config);
    lh_atrest_findings_done(&f->findings);
    *f = (struct enc_file){.path = f->path};
}

int enc_file_read(const char *path, struct enc_file *out, struct lh_err *err)
{
    struct enc_file f = {.path = path};
    int rc;

    lh_vec_init(&f.findings, sizeof(struct lh_atrest_finding));
    if (stat(path, &f.st) < 0)
        return lh_err_os(err, errno, "%s", path);
    rc = lh_fs_read_at(AT_FDCWD, path, LH_ATREST_CONFIG_MAX_BYTES, &f.text, &f.n, err);
    if (rc < 0)
        return rc;
    rc = lh_atrest_config_read((struct lh_str){f.text, f.n}, path, &f.config, &f.findings, err);
    if (rc < 0) {
        lh_free(f.text);
        lh_atrest_findings_done(&f.findings);
        return rc;
    }
    f.is_read = true;
    rc = lh_atrest_config_lint(&f.config, &f.st, &f.findings, err);
    if (rc < 0) {
        enc_file_done(&f);
        return rc;
    }
    *out = f;
    return 0;
}

int enc_file_put(const char *path, struct lh_str text, struct lh_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return lh_err_os(err, errno, "%s", path);
    return lh_fs_replace_owned_at(AT_FDCWD, path, 0600, &st, text.p, text.n, err);
}

/* -- init */

/* One rule, identity alone: what writes comes before it by the steps of a rotation. */
static int start_config(const struct enc_options *o, struct lh_atrest_config *out,
                        struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_vec resources, findings;
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    rc = enc_split(o->resources ? o->resources : "secrets", &resources, err);
    if (rc < 0)
        return rc;
    lh_buf_put_z(&b, "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
                     "resources:\n- resources:\n");
    for (size_t i = 0; i < resources.n; i++) {
        lh_buf_put_z(&b, "  - ");
        lh_json_write_str(lh_str(*(char **)lh_vec_at(&resources, i)), &b);
        lh_buf_put_c(&b, '\n');
    }
    enc_list_done(&resources);
    lh_buf_put_z(&b, "  providers:\n  - identity: {}\n");
    rc = lh_buf_check(&b, err);
    if (rc == 0)
        rc = lh_atrest_config_read(lh_buf_peek(&b), "--resources", out, &findings, err);
    if (rc == 0 && lh_atrest_findings_refused(&findings)) {
        lh_atrest_config_done(out);
        rc = lh_err_set(err, LH_E_INVALID, "--resources holds no name of a resource: %s",
                        ((struct lh_atrest_finding *)lh_vec_at(&findings, 0))->text);
    }
    lh_atrest_findings_done(&findings);
    return rc;
}

static int first_writer(const struct enc_options *o, struct lh_atrest_config *c, struct lh_err *err)
{
    const struct lh_atrest_ref identity = {.scheme = LH_ATREST_IDENTITY};
    bool kms = strcmp(o->provider, "kms") == 0;
    lh_auto_free char *text = lh_asprintf("%s:%s", kms ? "kmsv2" : o->provider,
                                          o->name ? o->name
                                          : kms   ? "leasehold"
                                                  : "key1");
    struct lh_atrest_key key = {.name = NULL};
    struct lh_atrest_ref to;
    int rc = text ? lh_atrest_ref_parse(text, &to, err) : lh_err_nomem(err);

    if (rc < 0)
        return lh_err_wrap(err, rc, "--provider and --name");
    if (kms && !o->endpoint)
        return lh_err_set(err, LH_E_INVALID, "--endpoint names the plugin's socket");
    rc = lh_atrest_key_new(to.name, &key, err);
    if (rc == 0)
        rc = lh_atrest_config_add(c, &identity, &to, kms ? NULL : key.secret, o->endpoint, err);
    lh_atrest_key_done(&key);
    if (rc == 0)
        rc = lh_atrest_config_promote(c, &to, err);
    if (rc == 0 && o->fresh)
        rc = lh_atrest_config_remove(c, &identity, err);
    return rc;
}

static int write_new(const char *path, const struct lh_buf *b, struct lh_err *err)
{
    lh_auto_free char *temp = lh_asprintf("%s.%ld.new", path, (long)getpid());
    struct lh_str text = lh_buf_peek(b);
    lh_auto_fd int fd = -1;
    int rc;

    if (!temp)
        return lh_err_nomem(err);
    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lh_err_os(err, errno, "make %s", temp);
    rc = lh_fs_write_all(fd, text.p, text.n, temp, err);
    if (rc == 0 && fsync(fd) < 0)
        rc = lh_err_os(err, errno, "write %s", temp);
    /* A link and no rename: what is there already stays. */
    if (rc == 0 && link(temp, path) < 0)
        rc = errno == EEXIST
                 ? lh_err_set(err, LH_E_CONFLICT, "%s is there already; `rotate` changes it", path)
                 : lh_err_os(err, errno, "make %s", path);
    unlink(temp);
    return rc;
}

static int read_back(const struct lh_buf *b, struct lh_err *err)
{
    struct lh_atrest_config c;
    struct lh_vec findings;
    int rc;

    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    rc = lh_atrest_config_read(lh_buf_peek(b), "the new file", &c, &findings, err);
    if (rc == 0) {
        if (lh_atrest_findings_refused(&findings))
            rc = lh_err_set(err, LH_E_INVALID, "an API server would refuse it: %s",
                            ((struct lh_atrest_finding *)lh_vec_at(&findings, 0))->text);
        lh_atrest_config_done(&c);
    }
    lh_atrest_findings_done(&findings);
    return rc;
}

int enc_init(const struct enc_options *o)
{
    lh_auto_buf struct lh_buf b, said;
    struct lh_atrest_config c;
    struct lh_err err = {0};
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    lh_buf_init(&said, TEXT_MAX);
    if (start_config(o, &c, &err) < 0)
        return enc_fail(&err);
    rc = first_writer(o, &c, &err);
    if (rc == 0) {
        lh_atrest_config_write(&c, &b);
        rc = lh_buf_check(&b, &err);
    }
    lh_atrest_config_done(&c);
    if (rc == 0)
        rc = read_back(&b, &err);
    if (rc == 0)
        rc = write_new(o->file, &b, &err);
    if (rc < 0)
        return enc_fail(&err);
    if (o->json) {
        lh_buf_put_z(&said, "{\"file\": ");
        lh_json_write_str(lh_str(o->file), &said);
        lh_buf_put_z(&said, "}\n");
    } else {
        lh_buf_printf(&said,
                      "%s is written, mode 0600. Copy it to every API server and start each with\n"
                      "  --encryption-provider-config=%s "
                      "--encryption-provider-config-automatic-reload=true\n"
                      "Keep a copy in a safe place: without it what is stored cannot be read.\n"
                      "Then: leasehold encryption rewrite -f %s\n",
                      o->file, o->file, o->file);
    }
    return cli_print(&said) == CLI_OK ? CLI_OK : CLI_USAGE;
}
