/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the report: workloads, checks, and what the words mean. */
#include <inttypes.h>

#include "audit_html.h"
#include "audit_rows.h"
#include "leasehold/core/mem.h"

enum { MAX_ROWS = 200, MAX_NAMES = 6 };

static void put_names(const struct audit *a, const struct audit_workload *w, struct lh_buf *b)
{
    char room[256];

    if (w->injected)
        lh_buf_put_z(b, w->secrets.n ? "injected, and Secrets " : "injected only");
    for (size_t i = 0; i < w->secrets.n && i < MAX_NAMES; i++) {
        lh_buf_put_z(b, i ? ", " : "");
        audit_html_put(b, audit_shown(a, *(char **)lh_vec_at(&w->secrets, i), room));
    }
    if (w->secrets.n > MAX_NAMES)
        lh_buf_printf(b, " and %zu more", w->secrets.n - MAX_NAMES);
}

static void put_workload(const struct audit *a, const struct audit_seen *s, struct lh_buf *b)
{
    const char *class = audit_protection_name(s->protection);
    char room[256];

    lh_buf_put_z(b, "<tr><td data-l=\"namespace\">");
    audit_html_put(b, audit_shown(a, s->w->namespace_, room));
    lh_buf_put_z(b, "</td><td data-l=\"workload\">");
    audit_html_put(b, s->w->kind);
    lh_buf_put_c(b, ' ');
    audit_html_put(b, audit_shown(a, s->w->name, room));
    lh_buf_printf(b,
                  "</td><td data-l=\"protection\"><b class=\"%s\">%s</b></td><td "
                  "data-l=\"proof\">%s</td><td data-l=\"uses\">",
                  class, audit_protection_title(s->protection), audit_proof_name(s->proof));
    put_names(a, s->w, b);
    lh_buf_put_z(b, "</td></tr>\n");
}

static void put_summary(const struct lh_vec *all, struct lh_buf *b)
{
    struct audit_html_part parts[AUDIT_PROTECTIONS];
    uint64_t n[AUDIT_PROTECTIONS] = {0};

    for (size_t i = 0; i < all->n; i++)
        n[((struct audit_seen *)lh_vec_at(all, i))->protection]++;
    audit_html_protections(n, parts);
    lh_buf_put_z(b, "<ul class=\"plot\" id=\"plot-workloads\">\n");
    audit_html_row(b, "workloads with secrets", parts, AUDIT_PROTECTIONS);
    lh_buf_put_z(b, "</ul>\n");
}

void audit_html_workloads(const struct audit *a, struct lh_buf *b)
{
    struct lh_vec all;
    size_t bare;

    if (audit_seen_list(a, &all, &bare) < 0)
        all.n = 0;
    lh_buf_put_z(b, "<h2 id=\"workloads\">Workloads</h2>\n");
    if (!a->pods.read)
        lh_buf_put_z(b, "<p>Pods were not read: which workloads use which secrets is not known."
                        "</p>\n");
    if (all.n) {
        lh_buf_put_z(b, "<p class=\"dim\">A workload is protected as well as the worst of the "
                        "Secrets that it uses; the worst come first.</p>\n");
        put_summary(&all, b);
        lh_buf_put_z(b, "<table class=\"workloads\"><thead><tr><th>namespace</th><th>workload</th>"
                        "<th>protection</th><th>proof</th><th>uses</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < all.n && i < MAX_ROWS; i++)
            put_workload(a, lh_vec_at(&all, i), b);
        lh_buf_put_z(b, "</tbody></table>\n");
    }
    if (all.n > MAX_ROWS)
        lh_buf_printf(b, "<p>%zu more use secrets: -o json has all.</p>\n", all.n - MAX_ROWS);
    if (bare)
        lh_buf_printf(b, "<p class=\"dim\">%zu workloads use no secret.</p>\n", bare);
    lh_vec_done(&all);
}

static void put_term(struct lh_buf *b, const char *term, const char *text)
{
    lh_buf_printf(b, "<dt>%s</dt><dd>", term);
    audit_html_sentence(b, text);
    lh_buf_put_z(b, "</dd>");
}

static void put_card(const struct audit_verdict *v, struct lh_buf *b)
{
    const struct audit_check *c = v->check;
    const char *result = audit_result_name(v->result);

    lh_buf_printf(b,
                  "<article class=\"check %s\" id=\"%s\"><span class=\"chip %s\">%s</span> <span "
                  "class=\"id\">%s</span> <span class=\"dim\">severity %s</span><h4>",
                  result, c->id, result, v->result == AUDIT_FAIL ? "failed" : "not proven", c->id,
                  audit_severity_name(c->severity));
    audit_html_put(b, c->title);
    lh_buf_put_z(b, "</h4><p>");
    audit_html_sentence(b, v->detail);
    lh_buf_put_z(b, "</p><dl>");
    put_term(b, "Why it matters", c->meaning);
    put_term(b, "What to do", c->action);
    put_term(b, "Decided by", c->proof);
    lh_buf_put_z(b, "</dl></article>\n");
}

static void put_line(const struct audit_verdict *v, struct lh_buf *b)
{
    lh_buf_printf(b, "<tr id=\"%s\"><td class=\"id\">%s</td><td data-l=\"severity\">%s</td><td>",
                  v->check->id, v->check->id, audit_severity_name(v->check->severity));
    audit_html_put(b, v->check->title);
    lh_buf_put_z(b, "</td><td>");
    audit_html_sentence(b, v->detail);
    lh_buf_put_z(b, "</td></tr>\n");
}

static const struct section {
    const char *title, *note;
    enum audit_result result;
} sections[] = {
    {"Failed", "", AUDIT_FAIL},
    {"Not proven", "No source that was given decides these; that is not a pass.", AUDIT_NOT_PROVEN},
    {"Passed", "", AUDIT_PASS},
};

static void put_section(const struct lh_vec *verdicts, const struct section *s, struct lh_buf *b)
{
    bool cards = s->result != AUDIT_PASS;
    struct lh_vec part;

    if (audit_verdicts_of(verdicts, s->result, &part) < 0)
        part.n = 0;
    if (part.n) {
        lh_buf_printf(b, "<h3>%s: %zu</h3>\n<p class=\"dim\">%s</p>\n", s->title, part.n, s->note);
        if (!cards)
            lh_buf_put_z(b, "<table class=\"checks\"><thead><tr><th>check</th><th>severity</th>"
                            "<th>what is asked</th><th>what was found</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < part.n; i++)
            (cards ? put_card : put_line)(*(struct audit_verdict **)lh_vec_at(&part, i), b);
        if (!cards)
            lh_buf_put_z(b, "</tbody></table>\n");
    }
    lh_vec_done(&part);
}

static void put_severities(const struct lh_vec *verdicts, struct lh_buf *b)
{
    lh_buf_put_z(b, "<ul class=\"legend\"><li><span class=\"key fail\"></span>failed</li><li><span "
                    "class=\"key not-proven\"></span>not proven</li><li><span class=\"key pass\">"
                    "</span>passed</li></ul>\n<ul class=\"plot\" id=\"plot-severities\">\n");
    for (int s = AUDIT_CRITICAL; s >= AUDIT_INFO; s--) {
        struct audit_html_part parts[] = {
            {"fail", "failed", 0}, {"not-proven", "not proven", 0}, {"pass", "passed", 0}};

        for (size_t i = 0; i < verdicts->n; i++) {
            const struct audit_verdict *v = lh_vec_at(verdicts, i);

            if ((int)v->check->severity != s)
                continue;
            parts[0].n += v->result == AUDIT_FAIL;
            parts[1].n += v->result == AUDIT_NOT_PROVEN;
            parts[2].n += v->result == AUDIT_PASS;
        }
        audit_html_row(b, audit_severity_name((enum audit_severity)s), parts, LH_ARRAY_LEN(parts));
    }
    lh_buf_put_z(b, "</ul>\n");
}

void audit_html_checks(const struct lh_vec *verdicts, struct lh_buf *b)
{
    lh_buf_put_z(b, "<h2 id=\"checks\">Checks</h2>\n");
    put_severities(verdicts, b);
    for (size_t i = 0; i < LH_ARRAY_LEN(sections); i++)
        put_section(verdicts, &sections[i], b);
}

void audit_html_terms(struct lh_buf *b)
{
    lh_buf_put_z(b, "<h2 id=\"terms\">How to read this</h2>\n<h3>Protections, the best first</h3>\n"
                    "<dl class=\"terms\">");
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        put_term(b, audit_protection_title((enum audit_protection)p),
                 audit_protection_meaning((enum audit_protection)p));
    lh_buf_put_z(b, "</dl>\n<h3>How well it is known</h3>\n<dl class=\"terms\">");
    for (int p = AUDIT_PROVEN; p >= AUDIT_INFERRED; p--)
        put_term(b, audit_proof_name((enum audit_proof)p),
                 audit_proof_meaning((enum audit_proof)p));
    lh_buf_put_z(b, "</dl>\n<p>A check that no source decides is not proven, and counts as such: "
                    "it never passes for want of evidence.</p>\n");
}
