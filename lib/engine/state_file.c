/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define STATE_NAME "state"

enum { BOOT_ID_MAX = 64, KEY_MAX = 1024 * 1024 };

static const char *or_empty(const char *z)
{
    return z ? z : "";
}

/*
 * Who may use what the state holds: this Pod, this store as it is written, this identity, and this
 * boot, since all its times count from it. A store that was edited gets a new login: a token must
 * not be shown to an address that it was not made for.
 */
static int make_key(struct lh_engine *e, const char *pod, struct lh_err *err)
{
    const struct lh_subject *who = &e->identity.subject;
    lh_auto_free char *boot = NULL;
    lh_auto_buf struct lh_buf b;
    size_t n;

    if (lh_fs_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &boot, &n, NULL) <
        0)
        boot = NULL;
    lh_buf_init(&b, KEY_MAX);
    lh_buf_printf(&b, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", or_empty(boot), or_empty(pod),
                  lh_store_kind(e->store), or_empty(e->store->namespace_), e->store->name,
                  or_empty(who->cluster), or_empty(who->namespace_), or_empty(who->service_account),
                  or_empty(e->identity.role));
    lh_json_write(e->store->spec, LH_JSON_SORTED, &b);
    return lh_buf_finish(&b, &e->state_key, &n, err);
}

int state_open(struct lh_engine *e, const struct lh_engine_options *o, struct lh_err *err)
{
    e->state_dir = -1;
    if (!o->state_path || o->once)
        return 0;
    e->state_dir = openat(o->state_at > 0 ? o->state_at : AT_FDCWD, o->state_path,
                          O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e->state_dir < 0)
        return lh_err_os(err, errno, "open the folder %s for state", o->state_path);
    return make_key(e, o->state_key, err);
}

void state_close(struct lh_engine *e)
{
    if (e->state_dir >= 0)
        close(e->state_dir);
    e->state_dir = -1;
    lh_free(e->state_key);
    e->state_key = NULL;
}

void state_restore(struct lh_engine *e)
{
    lh_auto_secret struct lh_secret *bytes = NULL;
    struct lh_state st = {0};
    struct lh_err err = {0};
    int rc;

    if (e->state_dir < 0)
        return;
    rc = lh_secret_read_at(e->state_dir, STATE_NAME, LH_STATE_MAX, &bytes, &err);
    if (rc == 0)
        rc = lh_state_parse((struct lh_str){lh_secret_expose_const(bytes), lh_secret_len(bytes)},
                            e->state_key, &st, &err);
    if (rc == 0) {
        lh_session_restore(e->session, &st, items_resume, e);
    } else if (rc != -LH_E_NOTFOUND) {
        lh_err_wrap(&err, rc, "state of an earlier run is not used");
        engine_failed(e, &err);
    }
}

static int save(struct lh_engine *e, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_state st = {0};
    struct lh_str bytes;
    int rc = lh_session_save(e->session, &st, err);

    lh_buf_init(&b, LH_STATE_MAX);
    if (rc == 0)
        rc = lh_state_write(&st, e->state_key, &b, err);
    lh_state_done(&st);
    if (rc < 0)
        return rc;
    bytes = lh_buf_peek(&b);
    return lh_fs_replace_at(e->state_dir, STATE_NAME, 0600, bytes.p, bytes.n, err);
}

void state_save(struct lh_engine *e)
{
    uint64_t version = lh_session_version(e->session);
    struct lh_err err;
    int rc;

    if (e->state_dir < 0 || e->ended || version == e->saved_version)
        return;
    rc = save(e, &err);
    e->saved_version = version;
    if (rc < 0) {
        lh_err_wrap(&err, rc, "keep the state for a restart");
        engine_failed(e, &err);
    }
}

void state_remove(struct lh_engine *e)
{
    if (e->state_dir >= 0)
        (void)lh_fs->unlinkat(e->state_dir, STATE_NAME, 0);
}
