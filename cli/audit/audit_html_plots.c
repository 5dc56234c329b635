/* SPDX-License-Identifier: Apache-2.0 */
/* The plots of the report: what etcd holds by protection, kind, namespace and key. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit_html.h"
#include "audit_rows.h"
#include "leasehold/core/mem.h"

enum { MAX_ROWS = 24, MAX_KEYS = 24 };

void audit_html_bar(struct lh_buf *b, const char *of, const struct audit_html_part *parts, size_t n)
{
    const char *sep = ": ";

    lh_buf_put_z(b, "<span class=\"bar\" role=\"img\" aria-label=\"");
    audit_html_put(b, of);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n == 0 || !*parts[i].title)
            continue;
        lh_buf_printf(b, "%s%" PRIu64 " %s", sep, parts[i].n, parts[i].title);
        sep = ", ";
    }
    lh_buf_put_z(b, "\">");
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n)
            lh_buf_printf(
                b, "<i class=\"%s\" style=\"flex-grow:%" PRIu64 "\" title=\"%s: %" PRIu64 "\"></i>",
                parts[i].class, parts[i].n, parts[i].title, parts[i].n);
    }
    lh_buf_put_z(b, "</span>");
}

void audit_html_row(struct lh_buf *b, const char *name, const struct audit_html_part *parts,
                    size_t n)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += parts[i].n;
    lh_buf_put_z(b, "<li><span>");
    audit_html_put(b, name);
    lh_buf_put_z(b, "</span>");
    audit_html_bar(b, name, parts, n);
    lh_buf_printf(b, "<span class=\"n\">%" PRIu64 "</span></li>\n", all);
}

void audit_html_protections(const uint64_t counts[AUDIT_PROTECTIONS],
                            struct audit_html_part out[AUDIT_PROTECTIONS])
{
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        out[p] =
            (struct audit_html_part){audit_protection_name((enum audit_protection)p),
                                     audit_protection_title((enum audit_protection)p), counts[p]};
}

static void put_legend(struct lh_buf *b)
{
    lh_buf_put_z(b, "<ul class=\"legend\">");
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        lh_buf_printf(b, "<li><span class=\"key %s\"></span>%s</li>",
                      audit_protection_name((enum audit_protection)p),
                      audit_protection_title((enum audit_protection)p));
    lh_buf_put_z(b, "</ul>\n");
}

void audit_html_secrets(const struct audit *a, struct lh_buf *b)
{
    struct audit_html_part parts[AUDIT_PROTECTIONS];
    uint64_t n[AUDIT_PROTECTIONS], all = 0;

    audit_counts(a, "secrets", NULL, n);
    audit_html_protections(n, parts);
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        all += n[p];
    lh_buf_put_z(b, "<h2 id=\"secrets\">What protects secrets</h2>\n");
    if (!a->has_bytes)
        lh_buf_put_z(b, "<p>No stored byte was read: of Secrets in etcd nothing is proven.</p>\n");
    if (all == 0)
        return;
    lh_buf_put_z(b, "<div class=\"big-plot\" id=\"plot-secrets\">");
    audit_html_bar(b, "secrets", parts, AUDIT_PROTECTIONS);
    lh_buf_put_z(b, "</div>\n<ul class=\"tiles\">");
    for (int p = 0; p < AUDIT_PROTECTIONS; p++) {
        lh_buf_printf(b,
                      "<li><span class=\"key %s\"></span>%s<b data-protection=\"%s\">%" PRIu64
                      "</b><span class=\"dim\">%.1f %%</span></li>",
                      parts[p].class, parts[p].title, parts[p].class, n[p],
                      100.0 * (double)n[p] / (double)all);
    }
    lh_buf_put_z(b, "</ul>\n");
}

/* a: names are shown as it says; NULL: as they are. */
static void put_plot(struct lh_buf *b, const struct audit *a, const struct lh_vec *rows,
                     const char *id, const char *what)
{
    struct audit_html_part parts[AUDIT_PROTECTIONS];
    char room[256], more[64];

    put_legend(b);
    lh_buf_printf(b, "<ul class=\"plot\" id=\"%s\">\n", id);
    for (size_t i = 0; i < rows->n && i < MAX_ROWS; i++) {
        const struct audit_row *r = lh_vec_at(rows, i);
        const char *name = a ? audit_shown(a, r->name, room) : r->name;

        audit_html_protections(r->n, parts);
        audit_html_row(b, *name ? name : "(none)", parts, AUDIT_PROTECTIONS);
    }
    if (rows->n > MAX_ROWS) {
        snprintf(more, sizeof(more), "%zu more %s", rows->n - MAX_ROWS, what);
        audit_html_protections(audit_rows_sum(rows, MAX_ROWS).n, parts);
        audit_html_row(b, more, parts, AUDIT_PROTECTIONS);
    }
    lh_buf_put_z(b, "</ul>\n");
}

void audit_html_kinds(const struct lh_vec *groups, struct lh_buf *b)
{
    struct lh_vec rows;

    if (audit_rows_of_kinds(groups, &rows) == 0 && rows.n) {
        lh_buf_put_z(b, "<h2 id=\"kinds\">By kind</h2>\n<p class=\"dim\">Shares of each kind's "
                        "objects; at the right, how many there are.</p>\n");
        put_plot(b, NULL, &rows, "plot-kinds", "kinds");
    }
    lh_vec_done(&rows);
}

void audit_html_namespaces(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b)
{
    struct lh_vec rows;

    if (audit_rows_of_secrets(groups, &rows) == 0 && rows.n) {
        lh_buf_put_z(b, "<h2 id=\"namespaces\">Secrets by namespace</h2>\n<p class=\"dim\">Those "
                        "with the most in plain text first.</p>\n");
        put_plot(b, a, &rows, "plot-namespaces", "namespaces");
    }
    lh_vec_done(&rows);
}

static bool is_same_key(const struct audit_group *x, const struct audit_group *y)
{
    return strcmp(x->provider, y->provider) == 0 && strcmp(x->name, y->name) == 0 &&
           strcmp(x->key, y->key) == 0;
}

/* Each key once, with its counts over all kinds and the revisions of its oldest and newest. */
static size_t keys_of(const struct lh_vec *groups, struct audit_group out[MAX_KEYS],
                      uint64_t *others)
{
    size_t n = 0, k;

    *others = 0;
    for (size_t i = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);

        if (g->protection != AUDIT_KMS && g->protection != AUDIT_LOCAL)
            continue;
        for (k = 0; k < n && !is_same_key(&out[k], g);)
            k++;
        if (k == MAX_KEYS) {
            *others += g->count;
            continue;
        }
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

static uint64_t span(int64_t from, int64_t to)
{
    return to > from ? (uint64_t)(to - from) : 0;
}

static void put_key(const struct audit *a, const struct audit_group *k, struct lh_buf *b)
{
    const char *class = audit_protection_name(k->protection);
    const struct audit_html_part parts[] = {
        {"gap", "", span(0, k->oldest)},
        {class, "revisions", span(k->oldest, k->newest) + 1},
        {"gap", "", span(k->newest, a->revision)},
    };

    lh_buf_printf(b, "<tr><td data-l=\"provider\"><span class=\"key %s\"></span>", class);
    audit_html_put(b, k->provider);
    lh_buf_put_z(b, "</td><td data-l=\"name\">");
    audit_html_put(b, *k->name ? k->name : "-");
    lh_buf_put_z(b, "</td><td data-l=\"key\" class=\"id\">");
    audit_html_put(b, *k->key ? k->key : "-");
    lh_buf_printf(b, "</td><td data-l=\"objects\" class=\"n\">%" PRIu64 "</td><td>", k->count);
    audit_html_bar(b, "age of what is under it", parts, LH_ARRAY_LEN(parts));
    lh_buf_put_z(b, "</td></tr>\n");
}

void audit_html_keys(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b)
{
    struct audit_group keys[MAX_KEYS];
    uint64_t others;
    size_t n = keys_of(groups, keys, &others);

    if (n == 0)
        return;
    lh_buf_printf(b,
                  "<h2 id=\"keys\">Keys and how old what they protect is</h2>\n<p class=\"dim\">"
                  "A bar reaches from the oldest to the newest object under a key, by etcd's "
                  "revision: at the left the first, at the right now, revision %" PRId64 ".</p>\n"
                  "<table class=\"keys\"><thead><tr><th>provider</th><th>name</th><th>key</th>"
                  "<th class=\"n\">objects</th><th>oldest to newest</th></tr>"
                  "</thead><tbody>\n",
                  a->revision);
    for (size_t i = 0; i < n; i++)
        put_key(a, &keys[i], b);
    lh_buf_put_z(b, "</tbody></table>\n");
    if (others)
        lh_buf_printf(b, "<p>%" PRIu64 " more objects are under other keys.</p>\n", others);
}
