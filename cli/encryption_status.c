/* SPDX-License-Identifier: Apache-2.0 */
/* Where a change of key stands, and what is stored with which key. */
#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define SAID_MAX ((size_t)64 << 20)

static bool is_writer(const struct lh_atrest_config *c, const struct lh_atrest_ref *ref)
{
    struct lh_atrest_ref writer;

    for (size_t i = 0; i < c->rules.n; i++)
        if (lh_atrest_rule_writer(lh_vec_at(&c->rules, i), &writer) &&
            lh_atrest_ref_equal(&writer, ref))
            return true;
    return false;
}

static const char *phase_of(const struct lh_atrest_config *c)
{
    struct lh_atrest_ref to;

    if (!c->rotation.to[0] || lh_atrest_ref_parse(c->rotation.to, &to, NULL) < 0)
        return "settled";
    return is_writer(c, &to) ? "promoted" : "added";
}

/* Without reading etcd: as it is configured, which says nothing of what is stored. */
static const char *proof_of(const struct enc_options *o, const struct enc_scan *s)
{
    if (!o->etcd && !o->snapshot)
        return "configured";
    return s->unreadable || s->total == 0 ? "not-proven" : "proven";
}

static void put_json(const struct enc_options *o, const struct enc_file *f,
                     const struct enc_scan *s, struct lh_buf *b)
{
    lh_buf_printf(b, "{\"phase\": \"%s\", \"from\": ", phase_of(&f->config));
    lh_json_write_str(lh_str(f->config.rotation.from), b);
    lh_buf_put_z(b, ", \"to\": ");
    lh_json_write_str(lh_str(f->config.rotation.to), b);
    lh_buf_printf(b, ", \"proof\": \"%s\", \"revision\": %lld, \"unreadable\": %zu, \"counts\": [",
                  proof_of(o, s), (long long)s->revision, s->unreadable);
    for (size_t i = 0; i < s->counts.n; i++) {
        const struct enc_count *c = lh_vec_at(&s->counts, i);

        lh_buf_put_z(b, i ? ",\n  {\"resource\": " : "\n  {\"resource\": ");
        lh_json_write_str(lh_str(c->resource), b);
        lh_buf_printf(b, ", \"protection\": \"%s\", \"scheme\": \"%s\", \"name\": ",
                      lh_atrest_protection_name(lh_atrest_scheme_protection(c->ref.scheme)),
                      lh_atrest_scheme_name(c->ref.scheme));
        lh_json_write_str(lh_str(c->ref.name), b);
        lh_buf_put_z(b, ", \"keyId\": ");
        lh_json_write_str(lh_str(c->key_id), b);
        lh_buf_printf(b, ", \"count\": %zu, \"stale\": %s}", c->count,
                      is_writer(&f->config, &c->ref) ? "false" : "true");
    }
    lh_buf_put_z(b, "]}\n");
}

/* A key id is public but may hold anything: what a terminal could take for more is not printed. */
static void put_plain(struct lh_buf *b, const char *text)
{
    for (; *text; text++)
        lh_buf_put_c(b, *text > ' ' && *text < 0x7f ? *text : '?');
}

static void put_text(const struct enc_options *o, const struct enc_file *f,
                     const struct enc_scan *s, struct lh_buf *b)
{
    const struct lh_atrest_rotation *r = &f->config.rotation;

    lh_buf_printf(b, "%s: %s", f->path, phase_of(&f->config));
    if (r->to[0])
        lh_buf_printf(b, " (%s -> %s)", r->from, r->to);
    lh_buf_printf(b, "; %s", proof_of(o, s));
    if (o->etcd || o->snapshot)
        lh_buf_printf(b, " at revision %lld", (long long)s->revision);
    lh_buf_put_c(b, '\n');
    if (!o->etcd && !o->snapshot)
        lh_buf_put_z(b, "What is stored was not looked at: --etcd or --snapshot does.\n");
    for (size_t i = 0; i < s->counts.n; i++) {
        const struct enc_count *c = lh_vec_at(&s->counts, i);
        char ref[320];

        lh_atrest_ref_print(&c->ref, ref);
        lh_buf_printf(b, "  %-24s %-6s %8zu  ", c->resource,
                      lh_atrest_protection_name(lh_atrest_scheme_protection(c->ref.scheme)),
                      c->count);
        put_plain(b, ref);
        if (c->key_id[0])
            lh_buf_put_c(b, ' ');
        put_plain(b, c->key_id);
        lh_buf_put_z(b, is_writer(&f->config, &c->ref) ? "\n" : "  stale\n");
    }
    if (s->unreadable)
        lh_buf_printf(b, "%zu cannot be told:\n", s->unreadable);
    for (size_t i = 0; i < s->samples.n; i++)
        lh_buf_printf(b, "  %s\n", *(char **)lh_vec_at(&s->samples, i));
}

static bool is_stale(const struct enc_file *f, const struct enc_scan *s)
{
    for (size_t i = 0; i < s->counts.n; i++)
        if (!is_writer(&f->config, &((struct enc_count *)lh_vec_at(&s->counts, i))->ref))
            return true;
    return s->unreadable > 0;
}

int enc_status(const struct enc_options *o)
{
    lh_auto_buf struct lh_buf said;
    struct enc_file f = {0};
    struct enc_scan s = {.config = NULL};
    struct lh_err err = {0};
    bool stale = false;
    int rc = lh_crypto_init(&err);

    lh_buf_init(&said, SAID_MAX);
    if (rc == 0)
        rc = enc_file_read(o->file, &f, &err);
    if (rc < 0)
        return enc_fail(&err);
    s.config = &f.config;
    if (o->etcd || o->snapshot)
        rc = enc_scan_run(o, &s, &err);
    if (rc == 0) {
        (o->json ? put_json : put_text)(o, &f, &s, &said);
        stale = is_stale(&f, &s);
    }
    enc_scan_done(&s);
    enc_file_done(&f);
    if (rc < 0)
        return enc_fail(&err);
    if (cli_print(&said) != CLI_OK)
        return CLI_USAGE;
    return stale ? CLI_FAILED : CLI_OK;
}
