/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as one HTML file that a person shows to an auditor. */
#include "audit_html.h"
#include "audit_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<title>Encryption at rest: audit</title>\n<style>\n";

static void put_char(struct lh_buf *b, char c)
{
    static const struct {
        char c;
        const char *as;
    } escapes[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}, {'\'', "&#39;"}};

    for (size_t i = 0; i < LH_ARRAY_LEN(escapes); i++) {
        if (escapes[i].c == c) {
            lh_buf_put_z(b, escapes[i].as);
            return;
        }
    }
    lh_buf_put_c(b, c);
}

void audit_html_put(struct lh_buf *b, const char *text)
{
    for (; *text; text++)
        put_char(b, *text);
}

void audit_html_sentence(struct lh_buf *b, const char *text)
{
    bool code = false;

    for (; *text; text++) {
        if (*text != '`' || (!code && !strchr(text + 1, '`'))) {
            put_char(b, *text);
            continue;
        }
        code = !code;
        lh_buf_put_z(b, code ? "<code>" : "</code>");
    }
}

static void put_links(const struct lh_vec *verdicts, struct lh_buf *b)
{
    struct lh_vec failed;

    if (audit_verdicts_of(verdicts, AUDIT_FAIL, &failed) < 0)
        failed.n = 0;
    lh_buf_put_z(b, failed.n ? "<ul>" : "");
    for (size_t i = 0; i < failed.n; i++) {
        const struct audit_check *c = (*(struct audit_verdict **)lh_vec_at(&failed, i))->check;

        lh_buf_printf(b, "<li>%s: <a href=\"#%s\">%s</a> ", audit_severity_name(c->severity), c->id,
                      c->id);
        audit_html_put(b, c->title);
        lh_buf_put_z(b, "</li>");
    }
    lh_buf_put_z(b, failed.n ? "</ul>" : "");
    lh_vec_done(&failed);
}

/* The one sentence that is read if nothing else is. */
static void put_verdict(const struct lh_vec *verdicts, struct lh_buf *b)
{
    size_t n[AUDIT_RESULTS];

    audit_tally(verdicts, n);
    lh_buf_printf(b, "<div class=\"verdict %s\"><b>",
                  n[AUDIT_FAIL]         ? "fail"
                  : n[AUDIT_NOT_PROVEN] ? "not-proven"
                                        : "pass");
    if (n[AUDIT_FAIL])
        lh_buf_printf(b, "%zu of %zu checks failed", n[AUDIT_FAIL], verdicts->n);
    else
        lh_buf_put_z(b, "No check failed");
    lh_buf_printf(b, ", %zu are not proven, %zu passed.</b>", n[AUDIT_NOT_PROVEN], n[AUDIT_PASS]);
    put_links(verdicts, b);
    lh_buf_put_z(b, "</div>\n");
}

static void put_source(struct lh_buf *b, const char *what, const char *name, const char *absent)
{
    lh_buf_printf(b, "<dt>%s</dt><dd>", what);
    audit_html_put(b, name ? name : absent);
    lh_buf_put_z(b, "</dd>");
}

/* What was looked at: the ground of every sentence in the report. */
static void put_sources(const struct audit *a, struct lh_buf *b)
{
    char text[96];

    lh_buf_put_z(b, "<h2 id=\"sources\">What this rests on</h2>\n<dl class=\"terms\">");
    put_source(b, "Stored bytes", a->has_bytes ? (a->source ? a->source : "etcd") : NULL,
               "not read");
    if (a->has_bytes) {
        snprintf(text, sizeof(text), "%" PRIu64 " at revision %" PRId64 "%s", a->objects,
                 a->revision, a->is_damaged ? "; some could not be read" : "");
        put_source(b, "Objects", text, NULL);
    }
    put_source(b, "Configuration", a->config.path, "not read");
    snprintf(text, sizeof(text), "of %zu API servers", a->servers.n);
    put_source(b, "Metrics", a->servers.n ? text : NULL, "not read");
    snprintf(text, sizeof(text), "%zu workloads, %u API servers, %u members of etcd",
             lh_map_len(a->workloads), a->pods.apiservers, a->pods.etcds);
    put_source(b, "Pods", a->pods.read ? text : NULL, "not read");
    put_source(b, "Roles", a->rights.read ? "RBAC's roles and bindings" : NULL, "not read");
    snprintf(text, sizeof(text), "%zu", a->plugins.n);
    put_source(b, "Plugins", a->plugins.n ? text : NULL, "not asked");
    snprintf(text, sizeof(text), "%zu files", a->backups.n);
    put_source(b, "Backups", a->backups.n ? text : NULL, "not read");
    snprintf(text, sizeof(text), "%zu files", a->leftovers.n);
    put_source(b, "etcd's disk", a->leftovers.n ? text : NULL, "not read");
    put_source(b, "A write", a->proved ? a->canary.provider : NULL, "not made");
    lh_buf_put_z(b, "</dl>\n");
}

static void put_cut(struct lh_buf *b, uint64_t n, const char *what)
{
    if (n)
        lh_buf_printf(b, "<p>%" PRIu64 " %s</p>\n", n, what);
}

static void put_troubles(const struct audit *a, struct lh_buf *b)
{
    if (a->troubles.n == 0 && a->groups_cut == 0 && a->seeds_cut == 0 && a->workloads_cut == 0)
        return;
    lh_buf_put_z(b, "<h2 id=\"unknown\">What is not known</h2>\n");
    for (size_t i = 0; i < a->troubles.n; i++) {
        lh_buf_put_z(b, "<p>");
        audit_html_put(b, *(char **)lh_vec_at(&a->troubles, i));
        lh_buf_put_z(b, "</p>\n");
    }
    put_cut(b, a->groups_cut, "objects are counted without their namespace and key: too many.");
    put_cut(b, a->seeds_cut, "objects under further data keys, which are not told apart.");
    put_cut(b, a->workloads_cut, "Pods of workloads past the number that is kept.");
}

void audit_put_html(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b)
{
    struct lh_vec groups;
    char when[32];

    lh_vec_init(&groups, sizeof(struct audit_group *));
    if (audit_groups(a, &groups, NULL) < 0)
        groups.n = 0;
    lh_buf_put_z(b, head);
    lh_buf_put_z(b, audit_html_style);
    lh_buf_put_z(b, "</style></head><body><main>\n<h1>Encryption at rest: audit</h1>\n<p "
                    "class=\"dim\">");
    audit_html_put(b, a->source ? a->source : "no stored bytes");
    lh_buf_printf(b, " &middot; %s &middot; leasehold " LH_VERSION "</p>\n",
                  lh_clock_format(a->now_ms, when));
    put_verdict(verdicts, b);
    lh_buf_put_z(b, "<nav><a href=\"#secrets\">Secrets</a><a href=\"#workloads\">Workloads</a><a "
                    "href=\"#checks\">Checks</a><a href=\"#sources\">Sources</a><a "
                    "href=\"#terms\">How to read this</a></nav>\n");
    audit_html_secrets(a, b);
    audit_html_namespaces(a, &groups, b);
    audit_html_kinds(&groups, b);
    audit_html_keys(a, &groups, b);
    audit_html_workloads(a, b);
    audit_html_checks(verdicts, b);
    put_sources(a, b);
    put_troubles(a, b);
    audit_html_terms(b);
    lh_buf_put_z(b, "</main></body></html>\n");
    lh_vec_done(&groups);
}
