/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as text for a terminal of 80 columns: what matters most comes first. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit_rows.h"
#include "leasehold/core/mem.h"

enum { WIDTH = 80, MAX_ROWS = 20, INDENT = 4, NAME_COLUMN = 28, COUNT_COLUMN = 10 };

/* Words of text in lines of at most WIDTH, from column INDENT on, going on where column says; a
 * word that is too long stands alone. Gives the column at the end. */
static size_t put_words(struct lh_buf *b, size_t column, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, " ");

        if (column && column + 1 + n > WIDTH) {
            lh_buf_put_c(b, '\n');
            column = 0;
        }
        lh_buf_printf(b, "%*s", column ? 1 : INDENT, "");
        lh_buf_put(b, text, n);
        column += (column ? 1 : INDENT) + n;
        text += n + (text[n] == ' ');
    }
    return column;
}

/* A name that does not fit gets a line of its own. */
static void put_row(struct lh_buf *b, const char *name, const struct audit_row *r)
{
    lh_buf_printf(b, strlen(name) > NAME_COLUMN ? "%s\n%*s" : "%s%*s", name,
                  strlen(name) > NAME_COLUMN ? NAME_COLUMN : NAME_COLUMN - (int)strlen(name), "");
    for (int p = 0; p < AUDIT_PROTECTIONS; p++) {
        if (r->n[p])
            lh_buf_printf(b, "%*" PRIu64, COUNT_COLUMN, r->n[p]);
        else
            lh_buf_printf(b, "%*s", COUNT_COLUMN, "-");
    }
    lh_buf_put_c(b, '\n');
}

/* a: names are shown as it says; NULL: as they are. */
static void put_rows(struct lh_buf *b, const struct audit *a, const struct lh_vec *rows,
                     const char *title, const char *what)
{
    struct audit_row rest;
    char room[256], more[64];

    if (rows->n == 0)
        return;
    lh_buf_printf(b, "%-*s", NAME_COLUMN, title);
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        lh_buf_printf(b, "%*s", COUNT_COLUMN, audit_protection_name((enum audit_protection)p));
    lh_buf_put_c(b, '\n');
    for (size_t i = 0; i < rows->n && i < MAX_ROWS; i++) {
        const struct audit_row *r = lh_vec_at(rows, i);
        const char *name = a ? audit_shown(a, r->name, room) : r->name;

        put_row(b, *name ? name : "(none)", r);
    }
    if (rows->n > MAX_ROWS) {
        snprintf(more, sizeof(more), "%zu more %s", rows->n - MAX_ROWS, what);
        rest = audit_rows_sum(rows, MAX_ROWS);
        put_row(b, more, &rest);
    }
    lh_buf_put_c(b, '\n');
}

static void put_objects(const struct audit *a, struct lh_buf *b)
{
    struct lh_vec groups, rows;

    lh_buf_printf(b, "Encryption at rest: %s",
                  a->has_bytes ? (a->source ? a->source : "etcd") : "no stored bytes were read");
    if (a->has_bytes)
        lh_buf_printf(b, ", %" PRIu64 " objects at revision %" PRId64, a->objects, a->revision);
    lh_buf_put_z(b, "\n");
    if (a->has_bytes)
        lh_buf_put_z(b,
                     "Counts are proven by stored bytes; external ones are inferred from Pods.\n");
    lh_buf_put_c(b, '\n');
    lh_vec_init(&groups, sizeof(struct audit_group *));
    if (audit_groups(a, &groups, NULL) == 0) {
        if (audit_rows_of_kinds(&groups, &rows) == 0)
            put_rows(b, NULL, &rows, "KIND", "kinds");
        lh_vec_done(&rows);
        if (audit_rows_of_secrets(&groups, &rows) == 0)
            put_rows(b, a, &rows, "SECRETS BY NAMESPACE", "namespaces");
        lh_vec_done(&rows);
    }
    lh_vec_done(&groups);
}

static void put_workloads(const struct audit *a, struct lh_buf *b)
{
    struct lh_vec all;
    size_t bare;
    char r1[256], r2[256];

    if (audit_seen_list(a, &all, &bare) < 0)
        all.n = 0;
    if (all.n)
        lh_buf_printf(b, "%-10s %-10s %s\n", "WORKLOADS", "PROOF", "NAMESPACE, WORKLOAD");
    for (size_t i = 0; i < all.n && i < MAX_ROWS; i++) {
        const struct audit_seen *s = lh_vec_at(&all, i);

        lh_buf_printf(b, "%-10s %-10s %s, %s %s%s\n", audit_protection_name(s->protection),
                      audit_proof_name(s->proof), audit_shown(a, s->w->namespace_, r1), s->w->kind,
                      audit_shown(a, s->w->name, r2),
                      s->w->injected && s->w->secrets.n ? " (injected too)" : "");
    }
    if (all.n > MAX_ROWS)
        lh_buf_printf(b, "and %zu more: -o json has all\n", all.n - MAX_ROWS);
    if (bare)
        lh_buf_printf(b, "%zu workloads use no secret\n", bare);
    if (all.n || bare)
        lh_buf_put_c(b, '\n');
    lh_vec_done(&all);
}

static void put_canary(const struct audit *a, struct lh_buf *b)
{
    if (!a->proved)
        return;
    lh_buf_printf(b, "CANARY\nA Secret was written, found in etcd, read back and removed: %s\n",
                  audit_protection_name(a->canary.protection));
    if (*a->canary.provider)
        lh_buf_printf(b, "    %s %s%s\n", a->canary.provider, a->canary.name,
                      *a->canary.key ? ", under the key that is current" : "");
    lh_buf_put_c(b, '\n');
}

static void put_verdict(const struct audit_verdict *v, struct lh_buf *b)
{
    lh_buf_printf(b, "%-10s %s %-8s %s\n", audit_result_name(v->result), v->check->id,
                  audit_severity_name(v->check->severity), v->check->title);
    if (v->result == AUDIT_PASS)
        return;
    put_words(b, 0, v->detail);
    lh_buf_put_c(b, '\n');
    if (v->result == AUDIT_FAIL) {
        put_words(b, put_words(b, 0, "What to do:"), v->check->action);
        lh_buf_put_c(b, '\n');
    }
}

static void put_checks(const struct lh_vec *verdicts, struct lh_buf *b)
{
    static const enum audit_result order[] = {AUDIT_FAIL, AUDIT_NOT_PROVEN, AUDIT_PASS};
    size_t n[AUDIT_RESULTS];
    struct lh_vec part;

    lh_buf_put_z(b, "CHECKS\n");
    for (size_t r = 0; r < LH_ARRAY_LEN(order); r++) {
        if (audit_verdicts_of(verdicts, order[r], &part) < 0)
            part.n = 0;
        for (size_t i = 0; i < part.n; i++)
            put_verdict(*(struct audit_verdict **)lh_vec_at(&part, i), b);
        lh_vec_done(&part);
    }
    audit_tally(verdicts, n);
    lh_buf_printf(b, "\n%zu passed, %zu failed, %zu not proven\n", n[AUDIT_PASS], n[AUDIT_FAIL],
                  n[AUDIT_NOT_PROVEN]);
}

void audit_put_text(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b)
{
    put_objects(a, b);
    put_workloads(a, b);
    put_canary(a, b);
    put_checks(verdicts, b);
    if (a->troubles.n)
        lh_buf_put_z(b, "\nNOT KNOWN\n");
    for (size_t i = 0; i < a->troubles.n; i++) {
        put_words(b, 0, *(char **)lh_vec_at(&a->troubles, i));
        lh_buf_put_c(b, '\n');
    }
}
