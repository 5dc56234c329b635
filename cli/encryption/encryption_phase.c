/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a rotation beside the one that a file is at, and which of them a server is at. */
#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define TEXT_MAX ((size_t)2 * LH_ATREST_CONFIG_MAX_BYTES)

static bool is_writer(const struct lh_atrest_config *c, const struct lh_atrest_ref *ref)
{
    struct lh_atrest_ref writer;

    for (size_t i = 0; i < c->rules.n; i++)
        if (lh_atrest_rule_writer(lh_vec_at(&c->rules, i), &writer) &&
            lh_atrest_ref_equal(&writer, ref))
            return true;
    return false;
}

const char *enc_phase_name(const struct lh_atrest_config *c)
{
    struct lh_atrest_ref to;

    if (!c->rotation.to[0] || lh_atrest_ref_parse(c->rotation.to, &to, NULL) < 0)
        return "settled";
    return is_writer(c, &to) ? "promoted" : "added";
}

static int change(struct lh_atrest_config *c, enum enc_change what, struct lh_err *err)
{
    struct lh_atrest_ref from, to;
    int rc = 0;

    if (what == ENC_AS_IT_IS)
        return 0;
    rc = lh_atrest_ref_parse(c->rotation.from, &from, err);
    if (rc == 0)
        rc = lh_atrest_ref_parse(c->rotation.to, &to, err);
    if (rc < 0)
        return rc;
    switch (what) {
    case ENC_PROMOTED:
        return lh_atrest_config_promote(c, &to, err);
    case ENC_DEMOTED:
        return lh_atrest_config_promote(c, &from, err);
    default:
        rc = lh_atrest_config_remove(c, what == ENC_REMOVED ? &from : &to, err);
        c->rotation = (struct lh_atrest_rotation){.from = ""};
        return rc;
    }
}

int enc_changed(struct lh_str text, enum enc_change what, struct lh_buf *out, struct lh_err *err)
{
    struct lh_atrest_config c;
    struct lh_vec findings;
    int rc;

    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    rc = lh_atrest_config_read(text, "the file", &c, &findings, err);
    lh_atrest_findings_done(&findings);
    if (rc < 0)
        return rc;
    rc = change(&c, what, err);
    if (rc == 0) {
        lh_atrest_config_write(&c, out);
        rc = lh_buf_check(out, err);
    }
    lh_atrest_config_done(&c);
    return rc;
}

/* The server's label is a digest of the content, or of its own name for it. */
static int hashes_of(struct lh_str text, struct enc_phase *out, struct lh_err *err)
{
    uint8_t digest[LH_HASH_LEN];
    lh_auto_free char *named = NULL;
    int rc = lh_sha256(text.p, text.n, digest, err);

    if (rc < 0)
        return rc;
    lh_hex(digest, sizeof(digest), out->hashes[0]);
    named = lh_asprintf("k8s:enc:unstable:1:%s", out->hashes[0]);
    if (!named)
        return lh_err_nomem(err);
    rc = lh_sha256(named, strlen(named), digest, err);
    if (rc == 0)
        lh_hex(digest, sizeof(digest), out->hashes[1]);
    return rc;
}

static int add(struct enc_phases *p, const char *name, struct lh_str text, enum enc_change what,
               struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    rc = enc_changed(text, what, &b, err);
    if (rc < 0)
        return rc;
    p->all[p->n].name = name;
    rc = hashes_of(lh_buf_peek(&b), &p->all[p->n], err);
    if (rc == 0)
        p->n++;
    return rc;
}

int enc_phases_of(const struct enc_file *f, struct enc_phases *out, struct lh_err *err)
{
    struct lh_str text = {f->text, f->n};
    const char *now = enc_phase_name(&f->config);
    struct enc_phases p = {.n = 1};
    int rc;

    p.all[0].name = now;
    rc = hashes_of(text, &p.all[0], err);
    if (rc == 0 && strcmp(now, "added") == 0) {
        rc = add(&p, "promoted", text, ENC_PROMOTED, err);
        if (rc == 0)
            rc = add(&p, "before", text, ENC_UNADDED, err);
    } else if (rc == 0 && strcmp(now, "promoted") == 0) {
        rc = add(&p, "added", text, ENC_DEMOTED, err);
        if (rc == 0)
            rc = add(&p, "removed", text, ENC_REMOVED, err);
    }
    if (rc == 0)
        *out = p;
    return rc;
}

static bool has_hash(const char *told, const struct enc_phase *p)
{
    return strstr(told, p->hashes[0]) || strstr(told, p->hashes[1]);
}

enum enc_loading enc_server_phase(const struct enc_server *s, const struct enc_file *f,
                                  const struct enc_phases *p, const char **phase)
{
    double written = (double)f->st.st_ctim.tv_sec + (double)f->st.st_ctim.tv_nsec / 1e9;
    const char *told = NULL;

    *phase = "unknown";
    if (s->trouble)
        return ENC_UNKNOWN;
    for (size_t i = 0; i < s->metrics.series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->metrics.series, i);

        if (x->metric == AUDIT_METRIC_CONFIG)
            told = x->b;
    }
    if (!told) {
        /* Its clock counts from a whole second. */
        if (audit_metrics_sum(&s->metrics, AUDIT_METRIC_STARTED, NULL, NULL) <= written + 1)
            return ENC_OLDER;
        *phase = p->all[0].name;
        return ENC_LOADED;
    }
    *phase = "other";
    for (size_t i = 0; i < p->n; i++)
        if (has_hash(told, &p->all[i])) {
            *phase = p->all[i].name;
            return i == 0 ? ENC_LOADED : ENC_OTHER;
        }
    return ENC_OTHER;
}
