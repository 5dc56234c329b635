/* SPDX-License-Identifier: Apache-2.0 */
/* check: what is wrong with a configuration, by itself and for what is stored. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define TEXT_MAX ((size_t)2 * LH_ATREST_CONFIG_MAX_BYTES)
enum { EXAMPLES = 20 };

static void put_json(const struct enc_file *f, bool more, struct lh_buf *b)
{
    for (size_t i = 0; i < f->findings.n; i++) {
        const struct lh_atrest_finding *d = lh_vec_at(&f->findings, i);

        lh_buf_put_z(b, more || i ? ",\n  {\"file\": " : "\n  {\"file\": ");
        lh_json_write_str(lh_str(f->path), b);
        lh_buf_printf(b, ", \"line\": %d, \"id\": \"%s\", \"severity\": \"%s\", \"refused\": %s",
                      lh_yaml_line_of((struct lh_str){f->text, f->n}, 0, d->where), d->id,
                      lh_atrest_severity_name(d->severity), d->refused ? "true" : "false");
        lh_buf_put_z(b, ", \"where\": ");
        lh_json_write_str(lh_str(d->where), b);
        lh_buf_put_z(b, ", \"detail\": ");
        lh_json_write_str(lh_str(d->text), b);
        lh_buf_put_c(b, '}');
    }
}

static void put_text(const struct enc_file *f, struct lh_buf *b)
{
    for (size_t i = 0; i < f->findings.n; i++) {
        const struct lh_atrest_finding *d = lh_vec_at(&f->findings, i);
        int line = lh_yaml_line_of((struct lh_str){f->text, f->n}, 0, d->where);

        lh_buf_printf(b, "%s:%d: %s %s: %s%s%s%s\n", f->path, line > 0 ? line : 1,
                      lh_atrest_severity_name(d->severity), d->id, d->where, d->where[0] ? " " : "",
                      d->text, d->refused ? " (the API server refuses the file)" : "");
    }
    if (f->findings.n == 0)
        lh_buf_printf(b, "%s: nothing to say\n", f->path);
}

static int __attribute__((format(printf, 5, 6)))
add(struct enc_file *f, const char *id, enum lh_atrest_severity severity, struct lh_err *err,
    const char *fmt, ...)
{
    struct lh_atrest_finding d = {.id = id, .severity = severity};
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    enc_plain(text);
    d.where = lh_strdup("resources");
    d.text = lh_strdup(text);
    if (d.where && d.text && lh_vec_push(&f->findings, &d))
        return 0;
    lh_free(d.where);
    lh_free(d.text);
    return lh_err_nomem(err);
}

/* Every stored value that an API server could not read any more with this configuration. */
static int add_stored(const struct enc_options *o, struct enc_file *f, struct lh_err *err)
{
    struct enc_scan s = {.config = &f->config};
    char ref[320];
    int rc;

    if (!o->etcd && !o->snapshot)
        return 0;
    rc = enc_scan_run(o, &s, err);
    for (size_t i = 0, said = 0; rc == 0 && i < s.counts.n && said < EXAMPLES; i++) {
        const struct enc_count *c = lh_vec_at(&s.counts, i);

        if (!c->is_locked)
            continue;
        said++;
        lh_atrest_ref_print(&c->ref, ref);
        rc = add(f, "LocksOut", LH_ATREST_CRITICAL, err,
                 "%zu stored %s could not be read any more, such as %s: they need %s", c->count,
                 c->resource, c->example, ref);
    }
    if (rc == 0 && s.unreadable > 0)
        rc = add(f, "NotProven", LH_ATREST_HIGH, err, "%zu stored values cannot be told",
                 s.unreadable);
    if (rc == 0 && !s.whole)
        rc = add(f, "NotProven", LH_ATREST_HIGH, err,
                 "etcd holds no namespaces below %s: is --etcd-prefix right?", o->etcd_prefix);
    enc_scan_done(&s);
    return rc;
}

static bool threshold_of(const char *name, int *out)
{
    for (int s = LH_ATREST_LOW; s < LH_ATREST_SEVERITIES; s++)
        if (strcmp(name, lh_atrest_severity_name((enum lh_atrest_severity)s)) == 0) {
            *out = s;
            return true;
        }
    return false;
}

static int check_files(const struct enc_options *o, const struct lh_vec *paths, struct lh_buf *b,
                       int *worst, struct lh_err *err)
{
    bool more = false;

    *worst = -1;
    lh_buf_put_z(b, o->json ? "{\"findings\": [" : "");
    for (size_t i = 0; i < paths->n; i++) {
        struct enc_file f = {0};
        int here, rc = enc_file_read(*(char **)lh_vec_at(paths, i), &f, err);

        if (rc < 0)
            return rc;
        rc = add_stored(o, &f, err);
        if (rc < 0) {
            enc_file_done(&f);
            return rc;
        }
        here = lh_atrest_findings_worst(&f.findings);
        *worst = here > *worst ? here : *worst;
        if (o->json)
            put_json(&f, more, b);
        else
            put_text(&f, b);
        more |= f.findings.n > 0;
        enc_file_done(&f);
    }
    lh_buf_put_z(b, o->json ? "]}\n" : "");
    return lh_buf_check(b, err);
}

int enc_check(const struct enc_options *o)
{
    lh_auto_buf struct lh_buf b;
    struct lh_vec paths;
    struct lh_err err = {0};
    int worst = -1, threshold = 0, rc;

    lh_buf_init(&b, TEXT_MAX);
    if (o->etcd && lh_crypto_init(&err) < 0)
        return enc_fail(&err);
    if (!threshold_of(o->fail_on, &threshold)) {
        lh_err_fill(&err, LH_E_INVALID, "--fail-on must be low, medium, high or critical");
        return enc_fail(&err);
    }
    rc = enc_split(o->file, &paths, &err);
    if (rc == 0) {
        rc = check_files(o, &paths, &b, &worst, &err);
        enc_list_done(&paths);
    }
    if (rc < 0)
        return enc_fail(&err);
    if (cli_print(&b) != CLI_OK)
        return CLI_USAGE;
    return worst >= threshold ? CLI_FAILED : CLI_OK;
}
