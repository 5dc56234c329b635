/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the report: workloads, checks, and what the words mean. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_html.h"
#include "leasehold/core/mem.h"

enum { MAX_ROWS = 200, MAX_NAMES = 6 };

/* A workload that uses secrets, with what it came to. */
struct seen {
    const struct audit_workload *w;
    enum audit_protection protection;
    enum audit_proof proof;
};

static int worst_first(const void *left, const void *right)
{
    static const int rank[AUDIT_PROTECTIONS] = {[AUDIT_NONE] = 0,
                                                [AUDIT_MALFORMED] = 1,
                                                [AUDIT_LOCAL] = 2,
                                                [AUDIT_KMS] = 3,
                                                [AUDIT_EXTERNAL] = 4};
    const struct seen *x = left, *y = right;
    int order = rank[x->protection] - rank[y->protection];

    order = order ? order : strcmp(x->w->namespace_, y->w->namespace_);
    order = order ? order : strcmp(x->w->kind, y->w->kind);
    return order ? order : strcmp(x->w->name, y->w->name);
}

/* bare: how many use no secret. */
static int seen_of(const struct audit *a, struct lh_vec *out, size_t *bare)
{
    struct lh_vec all;
    int rc;

    *bare = 0;
    lh_vec_init(&all, sizeof(struct audit_workload *));
    rc = audit_workload_list(a, &all, NULL);
    for (size_t i = 0; i < all.n && rc == 0; i++) {
        struct seen s = {.w = *(struct audit_workload **)lh_vec_at(&all, i)};

        if (!s.w->injected && s.w->secrets.n == 0) {
            ++*bare;
            continue;
        }
        s.protection = audit_workload_class(a, s.w, &s.proof);
        if (!lh_vec_push(out, &s))
            rc = -LH_E_NOMEM;
    }
    lh_vec_done(&all);
    if (out->n)
        qsort(out->p, out->n, out->size, worst_first);
    return rc;
}

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

static void put_workload(const struct audit *a, const struct seen *s, struct lh_buf *b)
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
        n[((struct seen *)lh_vec_at(all, i))->protection]++;
    audit_html_protections(n, parts);
    lh_buf_put_z(b, "<ul class=\"plot\" id=\"plot-workloads\">\n");
    audit_html_row(b, "workloads with secrets", parts, AUDIT_PROTECTIONS);
    lh_buf_put_z(b, "</ul>\n");
}

void audit_html_workloads(const struct audit *a, struct lh_buf *b)
{
    struct lh_vec all;
    size_t bare;

    lh_vec_init(&all, sizeof(struct seen));
    if (seen_of(a, &all, &bare) < 0)
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

/* The sections of the checks, and which belong there. */
static const struct part {
    const char *title, *note;
    enum audit_result result;
    bool reminds, as_cards;
} sections[] = {
    {"Failed", "", AUDIT_FAIL, false, true},
    {"Not proven", "No source that was given decides these; that is not a pass.", AUDIT_NOT_PROVEN,
     false, true},
    {"Passed", "", AUDIT_PASS, false, false},
    {"For a person to look at", "This audit has no source for these.", AUDIT_NOT_PROVEN, true,
     false},
};

static bool belongs(const struct audit_verdict *v, const struct part *s)
{
    return v->result == s->result && (v->check->reach == AUDIT_REMINDS) == s->reminds;
}

static void put_section(const struct lh_vec *verdicts, const struct part *s, struct lh_buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < verdicts->n; i++)
        n += belongs(lh_vec_at(verdicts, i), s);
    if (n == 0)
        return;
    lh_buf_printf(b, "<h3>%s: %zu</h3>\n%s%s%s", s->title, n, *s->note ? "<p class=\"dim\">" : "",
                  s->note, *s->note ? "</p>\n" : "");
    if (!s->as_cards)
        lh_buf_put_z(b,
                     "<table class=\"checks\"><thead><tr><th>check</th><th>severity</th><th>what "
                     "is asked</th><th>what was found</th></tr></thead><tbody>\n");
    for (int severity = AUDIT_CRITICAL; severity >= AUDIT_INFO; severity--) {
        for (size_t i = 0; i < verdicts->n; i++) {
            const struct audit_verdict *v = lh_vec_at(verdicts, i);

            if ((int)v->check->severity == severity && belongs(v, s))
                (s->as_cards ? put_card : put_line)(v, b);
        }
    }
    if (!s->as_cards)
        lh_buf_put_z(b, "</tbody></table>\n");
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
