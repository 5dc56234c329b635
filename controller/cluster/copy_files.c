/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of files that were written: a keyed hash each. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

void copy_files_done(struct copy_files *f)
{
    lh_free(f->v);
    *f = (struct copy_files){0};
}

const struct copy_file *copy_files_find(const struct copy_files *f, const char *path)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->v[i].path, path) == 0)
            return &f->v[i];
    }
    return NULL;
}

void copy_files_forget(struct copy_files *f, const char *path)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->v[i].path, path) != 0)
            continue;
        f->v[i] = f->v[--f->n];
        return;
    }
}

bool copy_files_same(const struct copy_files *a, const struct copy_files *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct copy_file *other = copy_files_find(b, a->v[i].path);

        if (!other || memcmp(other->hash, a->v[i].hash, COPY_HASH_LEN) != 0)
            return false;
    }
    return true;
}

int copy_hash(const struct copy *c, const void *p, size_t n, uint8_t out[COPY_HASH_LEN],
              struct lh_err *err)
{
    const struct lh_secret *key = c->set->term.hash_key;
    uint8_t whole[LH_HASH_LEN];
    int rc = lh_hmac_sha256(lh_secret_expose_const(key), lh_secret_len(key), p, n, whole, err);

    if (rc == 0)
        memcpy(out, whole, COPY_HASH_LEN);
    return rc;
}

/* Room for all of the set; paths are put behind the entries. */
static int make_room(const struct lh_rendered_set *set, struct copy_files *out, char **text,
                     struct lh_err *err)
{
    size_t n = set->n ? set->n : 1, bytes = n * sizeof(*out->v);

    for (size_t i = 0; i < set->n; i++)
        bytes += strlen(set->v[i].path) + 1;
    *out = (struct copy_files){.v = lh_calloc(1, bytes)};
    if (!out->v)
        return lh_err_nomem(err);
    *text = (char *)(out->v + n);
    return 0;
}

int copy_files_hash(const struct copy *c, const struct lh_rendered_set *set, struct copy_files *out,
                    struct lh_err *err)
{
    char *text;
    int rc = make_room(set, out, &text, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < set->n && rc == 0; i++) {
        const struct lh_rendered *f = &set->v[i];
        const struct copy_file *had = f->bytes ? NULL : copy_files_find(&c->written, f->path);
        struct copy_file *to = &out->v[out->n];

        if (!f->bytes && !had)
            rc = lh_err_set(err, LH_E_GONE, "file \"%s\" is not in the Secret any more", f->path);
        else if (had)
            memcpy(to->hash, had->hash, COPY_HASH_LEN);
        else
            rc = copy_hash(c, lh_secret_expose_const(f->bytes), lh_secret_len(f->bytes), to->hash,
                           err);
        to->path = text;
        text = stpcpy(text, f->path) + 1;
        out->n += rc == 0;
    }
    if (rc < 0)
        copy_files_done(out);
    return rc;
}
