/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as one HTML file: no script, nothing loaded, readable in light and dark. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

enum { MAX_BARS = 16, MAX_KEYS = 24, MAX_ROWS = 200, BAR = 320 };

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<title>Encryption at rest: audit</title>\n<style>\n"
    ":root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--line:#d0d7de;--kms:#0a6e3f;"
    "--local:#1558b0;--none:#b3261e;--malformed:#6b4e00;--np:#5f4b8b}\n"
    "@media(prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--line:#3d444d;"
    "--kms:#3fb97a;--local:#6ea8ff;--none:#ff8a80;--malformed:#e0b341;--np:#c3aeff}}\n"
    "body{margin:0 auto;max-width:72rem;padding:1rem;color:var(--fg);background:var(--bg);"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}\n"
    ".wrap{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid "
    "var(--line)}td.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    "svg{width:100%;height:auto;max-width:40rem;display:block}text{fill:var(--fg);font:12px "
    "system-ui,sans-serif}\n"
    ".kms{fill:var(--kms);color:var(--kms)}.local{fill:var(--local);color:var(--local)}"
    ".none,.fail{fill:var(--none);color:var(--none)}.malformed{fill:var(--malformed);"
    "color:var(--malformed)}.external,.pass{fill:var(--kms);color:var(--kms)}"
    ".not-proven{fill:var(--np);color:var(--np)}td b{font-weight:600}\n"
    "@media(max-width:40rem){.checks thead{position:absolute;left:-99rem}"
    ".checks tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}"
    ".checks td{display:block;border:0;padding:.1rem 0}}\n"
    "</style></head><body><main>\n<h1>Encryption at rest: audit</h1>\n";

static void put(struct lh_buf *b, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            lh_buf_put_z(b, "&lt;");
            break;
        case '>':
            lh_buf_put_z(b, "&gt;");
            break;
        case '&':
            lh_buf_put_z(b, "&amp;");
            break;
        case '"':
            lh_buf_put_z(b, "&quot;");
            break;
        default:
            lh_buf_put_c(b, *text);
        }
    }
}

static void put_td(struct lh_buf *b, const char *class, const char *text)
{
    lh_buf_printf(b, "<td%s%s%s>", class ? " class=\"" : "", class ? class : "", class ? "\"" : "");
    put(b, *text ? text : "-");
    lh_buf_put_z(b, "</td>");
}

/* One segment of a bar that is BAR wide in all; what is there is at least 2 wide. */
static double put_part(struct lh_buf *b, double x, int y, double share, const char *class,
                       uint64_t n)
{
    double width = n && share * BAR < 2 ? 2 : share * BAR;

    if (!n)
        return x;
    lh_buf_printf(b,
                  "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"14\"><title>%s: "
                  "%" PRIu64 "</title></rect>",
                  class, x, y, width, class, n);
    return x + width;
}

static void open_svg(struct lh_buf *b, size_t bars, const char *label)
{
    lh_buf_printf(b, "<svg viewBox=\"0 0 560 %zu\" role=\"img\" aria-label=\"%s\">\n",
                  bars * 22 + 8, label);
}

/* A name that is too long for its column is cut in the plot; the table below has it whole. */
static void put_label(struct lh_buf *b, int y, const char *text)
{
    char room[28];

    snprintf(room, sizeof(room), "%s", text);
    if (strlen(text) >= sizeof(room))
        memcpy(room + sizeof(room) - 4, "...", 4);
    lh_buf_printf(b, "<text x=\"0\" y=\"%d\">", y + 12);
    put(b, room);
    lh_buf_put_z(b, "</text>");
}

/* Resources in the order of groups, each once. */
static size_t resources(const struct lh_vec *groups, const char *out[MAX_BARS])
{
    size_t n = 0;

    for (size_t i = 0; i < groups->n && n < MAX_BARS; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);

        if (n == 0 || strcmp(out[n - 1], g->resource) != 0)
            out[n++] = g->resource;
    }
    return n;
}

static void put_protections(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b)
{
    const char *names[MAX_BARS];
    size_t n = resources(groups, names);

    lh_buf_put_z(b, "<h2>Protection of what etcd holds</h2>\n");
    if (n == 0) {
        lh_buf_put_z(b, "<p>No stored object was read.</p>\n");
        return;
    }
    lh_buf_put_z(b, "<p><b class=\"kms\">kms</b>, <b class=\"local\">local key</b>, <b "
                    "class=\"none\">plain text</b>, <b class=\"malformed\">malformed</b></p>\n");
    open_svg(b, n, "Share of protections by resource");
    for (size_t i = 0; i < n; i++) {
        uint64_t c[AUDIT_PROTECTIONS], all = 0;
        int y = (int)i * 22 + 4;
        double x = 180;

        audit_counts(a, names[i], NULL, c);
        for (int k = 0; k < AUDIT_PROTECTIONS; k++)
            all += c[k];
        put_label(b, y, names[i]);
        for (int k = 0; k < AUDIT_PROTECTIONS; k++)
            x = put_part(b, x, y, (double)c[k] / (double)all,
                         audit_protection_name((enum audit_protection)k), c[k]);
        lh_buf_printf(b, "<text x=\"%d\" y=\"%d\">%" PRIu64 "</text>\n", 180 + BAR + 10, y + 12,
                      all);
    }
    lh_buf_put_z(b, "</svg>\n");
}

static void put_severities(const struct lh_vec *verdicts, struct lh_buf *b)
{
    lh_buf_put_z(b, "<h2>Checks by severity</h2>\n<p><b class=\"pass\">pass</b>, <b "
                    "class=\"fail\">fail</b>, <b class=\"not-proven\">not proven</b></p>\n");
    open_svg(b, 5, "Results by severity");
    for (int s = AUDIT_CRITICAL; s >= AUDIT_INFO; s--) {
        size_t n[3] = {0};
        int y = (AUDIT_CRITICAL - s) * 22 + 4;
        double x = 180;

        for (size_t i = 0; i < verdicts->n; i++) {
            const struct audit_verdict *v = lh_vec_at(verdicts, i);

            n[v->result] += (int)v->check->severity == s;
        }
        put_label(b, y, audit_severity_name((enum audit_severity)s));
        for (int r = AUDIT_PASS; r <= AUDIT_NOT_PROVEN; r++)
            x = put_part(b, x, y, (double)n[r] / (double)verdicts->n,
                         audit_result_name((enum audit_result)r), n[r]);
        lh_buf_printf(b, "<text x=\"%.0f\" y=\"%d\">%zu of %zu pass</text>\n", x + 8, y + 12,
                      n[AUDIT_PASS], n[0] + n[1] + n[2]);
    }
    lh_buf_put_z(b, "</svg>\n");
}

static bool is_same_key(const struct audit_group *x, const struct audit_group *y)
{
    return strcmp(x->provider, y->provider) == 0 && strcmp(x->name, y->name) == 0 &&
           strcmp(x->key, y->key) == 0;
}

/* Each key once, with its counts over all resources and the revisions of its oldest and newest. */
static size_t keys_of(const struct lh_vec *groups, struct audit_group out[MAX_KEYS])
{
    size_t n = 0, k;

    for (size_t i = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);

        if (g->protection != AUDIT_KMS && g->protection != AUDIT_LOCAL)
            continue;
        for (k = 0; k < n && !is_same_key(&out[k], g);)
            k++;
        if (k == MAX_KEYS)
            continue;
        if (k == n) {
            out[n++] = *g;
            continue;
        }
        out[k].count += g->count;
        out[k].oldest = g->oldest < out[k].oldest ? g->oldest : out[k].oldest;
        out[k].newest = g->newest > out[k].newest ? g->newest : out[k].newest;
    }
    return n;
}

static void put_keys(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b)
{
    struct audit_group keys[MAX_KEYS];
    size_t n = keys_of(groups, keys);
    double end = a->revision > 0 ? (double)a->revision : 1;

    lh_buf_put_z(b, "<h2>Keys and their ages</h2>\n");
    if (n == 0) {
        lh_buf_put_z(b, "<p>No object is stored under a key.</p>\n");
        return;
    }
    lh_buf_printf(b,
                  "<p>A bar reaches from the oldest to the newest object under a key, by etcd's "
                  "revision; the right end is now, revision %" PRId64 ".</p>\n",
                  a->revision);
    open_svg(b, n, "Keys by the age of what they protect");
    for (size_t i = 0; i < n; i++) {
        int y = (int)i * 22 + 4;
        double from = 180 + (double)keys[i].oldest / end * BAR;

        put_label(b, y, *keys[i].key ? keys[i].key : keys[i].name);
        put_part(b, from, y, (double)(keys[i].newest - keys[i].oldest) / end,
                 audit_protection_name(keys[i].protection), keys[i].count);
        lh_buf_printf(b, "<text x=\"%d\" y=\"%d\">%" PRIu64 "</text>\n", 180 + BAR + 10, y + 12,
                      keys[i].count);
    }
    lh_buf_put_z(b, "</svg>\n<div class=\"wrap\"><table><thead><tr><th>provider</th><th>name</th>"
                    "<th>key</th><th>objects</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        lh_buf_put_z(b, "<tr>");
        put_td(b, NULL, keys[i].provider);
        put_td(b, NULL, keys[i].name);
        put_td(b, NULL, keys[i].key);
        lh_buf_printf(b, "<td class=\"n\">%" PRIu64 "</td></tr>\n", keys[i].count);
    }
    lh_buf_put_z(b, "</tbody></table></div>\n");
}

static void put_checks(const struct lh_vec *verdicts, struct lh_buf *b)
{
    lh_buf_put_z(b, "<h2>Checks</h2>\n<table class=\"checks\"><thead><tr><th>check</th><th>result"
                    "</th><th>what was found</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < verdicts->n; i++) {
        const struct audit_verdict *v = lh_vec_at(verdicts, i);
        const char *word = audit_result_name(v->result);

        lh_buf_printf(b, "<tr><td><b>%s</b> %s<br>", v->check->id,
                      audit_severity_name(v->check->severity));
        put(b, v->check->title);
        lh_buf_printf(b, "</td><td class=\"%s\"><b>%s</b></td><td>", word, word);
        put(b, v->detail);
        if (v->result != AUDIT_PASS) {
            lh_buf_put_z(b, "<br>");
            put(b, v->check->meaning);
            lh_buf_put_z(b, " <b>What to do:</b> ");
            put(b, v->check->action);
        }
        lh_buf_put_z(b, "</td></tr>\n");
    }
    lh_buf_put_z(b, "</tbody></table>\n");
}

static void put_workloads(const struct audit *a, struct lh_buf *b)
{
    struct lh_vec all;
    size_t rows = 0, more = 0;
    char room[256];

    lh_vec_init(&all, sizeof(struct audit_workload *));
    if (audit_workload_list(a, &all, NULL) < 0)
        all.n = 0;
    lh_buf_put_z(b, "<h2>Workloads</h2>\n<div class=\"wrap\"><table><thead><tr><th>namespace</th>"
                    "<th>workload</th><th>protection</th><th>proof</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < all.n; i++) {
        const struct audit_workload *w = *(struct audit_workload **)lh_vec_at(&all, i);
        enum audit_proof proof;
        enum audit_protection p = audit_workload_class(a, w, &proof);

        if (!w->injected && w->secrets.n == 0)
            continue;
        if (rows >= MAX_ROWS) {
            more++;
            continue;
        }
        rows++;
        lh_buf_put_z(b, "<tr>");
        put_td(b, NULL, audit_shown(a, w->namespace_, room));
        lh_buf_printf(b, "<td>");
        put(b, w->kind);
        lh_buf_put_c(b, ' ');
        put(b, audit_shown(a, w->name, room));
        lh_buf_put_z(b, "</td>");
        put_td(b, audit_protection_name(p), audit_protection_name(p));
        put_td(b, NULL, audit_proof_name(proof));
        lh_buf_put_z(b, "</tr>\n");
    }
    lh_buf_put_z(b, "</tbody></table></div>\n");
    if (!a->pods.read)
        lh_buf_put_z(b, "<p>Pods were not read.</p>\n");
    else if (more || rows == 0)
        lh_buf_printf(b, "<p>%zu more use secrets.</p>\n", more);
    lh_vec_done(&all);
}

void audit_put_html(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b)
{
    struct lh_vec groups;
    char when[32];

    lh_vec_init(&groups, sizeof(struct audit_group *));
    if (audit_groups(a, &groups, NULL) < 0)
        groups.n = 0;
    lh_buf_put_z(b, head);
    lh_buf_put_z(b, "<p>Source: ");
    put(b, a->source ? a->source : "no stored bytes");
    lh_buf_printf(b, ". %" PRIu64 " objects. Made %s.</p>\n", a->objects,
                  lh_clock_format(a->now_ms, when));
    put_severities(verdicts, b);
    put_protections(a, &groups, b);
    put_keys(a, &groups, b);
    put_workloads(a, b);
    put_checks(verdicts, b);
    for (size_t i = 0; i < a->troubles.n; i++) {
        lh_buf_put_z(b, i ? "<p>" : "<h2>Not known</h2>\n<p>");
        put(b, *(char **)lh_vec_at(&a->troubles, i));
        lh_buf_put_z(b, "</p>\n");
    }
    lh_buf_put_z(b, "</main></body></html>\n");
    lh_vec_done(&groups);
}
