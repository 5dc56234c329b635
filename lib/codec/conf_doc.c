/* SPDX-License-Identifier: Apache-2.0 */
/* The same table of options as --help, as a table for docs/, as a man page. */
#include <string.h>

#include "conf_priv.h"
#include "leasehold/core/doc_date.h"
#include "leasehold/core/metrics.h"

enum { HELP_WIDTH = 80, HELP_INDENT = 8 };

/* Words of z from column indent on, broken before HELP_WIDTH. */
static void put_wrapped(struct lh_buf *b, const char *z, size_t *column)
{
    while (*z) {
        size_t n = strcspn(z, " ");

        if (n > 0) {
            if (*column > HELP_INDENT && *column + 1 + n > HELP_WIDTH) {
                lh_buf_put_c(b, '\n');
                *column = 0;
            }
            if (*column == 0) {
                lh_buf_printf(b, "%*s", HELP_INDENT, "");
                *column = HELP_INDENT;
            } else {
                lh_buf_put_c(b, ' ');
                (*column)++;
            }
            lh_buf_put(b, z, n);
            *column += n;
        }
        z += n + (z[n] == ' ');
    }
}

static const char *arg_name(const struct lh_opt *o)
{
    static const char *const names[] = {
        [LH_OPT_BOOL] = "BOOL",         [LH_OPT_STRING] = "TEXT",       [LH_OPT_INT] = "N",
        [LH_OPT_DURATION] = "DURATION", [LH_OPT_QUANTITY] = "QUANTITY",
    };

    return o->arg ? o->arg : names[o->type];
}

/* A default that says nothing is left out. */
static const char *def_of(const struct lh_opt *o)
{
    if (!o->def || !*o->def || (o->type == LH_OPT_BOOL && strcmp(o->def, "false") == 0))
        return NULL;
    return o->def;
}

static void put_notes(struct lh_buf *b, const struct lh_opt *o, size_t *column)
{
    lh_auto_buf struct lh_buf note;

    lh_buf_init(&note, 1024);
    if (def_of(o)) {
        lh_buf_printf(&note, "Default: %s.", def_of(o));
        put_wrapped(b, lh_buf_peek(&note).p, column);
        lh_buf_reset(&note);
    }
    if (o->env) {
        lh_buf_put_z(&note, "Environment: ");
        lh_conf_put_env(&note, o->name);
        lh_buf_put_c(&note, '.');
        put_wrapped(b, lh_buf_peek(&note).p, column);
    }
}

void lh_conf_help(const struct lh_opt_set *set, struct lh_buf *b)
{
    lh_buf_printf(b, "Usage: %s\n\n%s\n", set->usage, set->summary);
    if (set->opts[0].name)
        lh_buf_put_z(b, "\nOptions:\n");
    for (const struct lh_opt *o = set->opts; o->name; o++) {
        size_t column = 0;

        if (o->letter)
            lh_buf_printf(b, "  -%c, --%s", o->letter, o->name);
        else
            lh_buf_printf(b, "      --%s", o->name);
        if (o->type != LH_OPT_BOOL)
            lh_buf_printf(b, " %s", arg_name(o));
        lh_buf_put_c(b, '\n');
        put_wrapped(b, o->help, &column);
        put_notes(b, o, &column);
        lh_buf_put_c(b, '\n');
    }
}

static void put_cell(struct lh_buf *b, const char *z)
{
    for (; *z; z++) {
        if (*z == '|' || *z == '<')
            lh_buf_put_c(b, '\\');
        lh_buf_put_c(b, *z == '\n' ? ' ' : *z);
    }
}

void lh_conf_markdown(const struct lh_opt_set *set, struct lh_buf *b)
{
    lh_buf_put_z(b, "| flag | file | environment | default | meaning |\n|---|---|---|---|---|\n");
    for (const struct lh_opt *o = set->opts; o->name; o++) {
        lh_buf_put_z(b, "| `");
        if (o->letter)
            lh_buf_printf(b, "-%c`, `", o->letter);
        lh_buf_printf(b, "--%s", o->name);
        if (o->type != LH_OPT_BOOL)
            lh_buf_printf(b, " %s", arg_name(o));
        lh_buf_put_z(b, "` | `");
        lh_conf_put_key(b, o->name);
        lh_buf_put_z(b, "` | ");
        if (o->env) {
            lh_buf_put_c(b, '`');
            lh_conf_put_env(b, o->name);
            lh_buf_put_c(b, '`');
        }
        lh_buf_put_z(b, " | ");
        if (def_of(o)) {
            lh_buf_put_c(b, '`');
            put_cell(b, def_of(o));
            lh_buf_put_c(b, '`');
        }
        lh_buf_put_z(b, " | ");
        put_cell(b, o->help);
        lh_buf_put_z(b, " |\n");
    }
}

/* Text that roff takes for text: no request at the start of a line, no escape inside. */
static void put_roff(struct lh_buf *b, const char *z)
{
    bool line_start = true;

    for (; *z; z++) {
        if (line_start && (*z == '.' || *z == '\''))
            lh_buf_put_z(b, "\\&");
        if (*z == '\\')
            lh_buf_put_z(b, "\\e");
        else
            lh_buf_put_c(b, *z);
        line_start = *z == '\n';
    }
}

/* "leasehold run" is the page leasehold-run. */
static void put_page_name(struct lh_buf *b, const char *program)
{
    for (; *program; program++)
        lh_buf_put_c(b, *program == ' ' ? '-' : *program);
}

void lh_conf_man(const struct lh_opt_set *set, const char *description, struct lh_buf *b)
{
    char date[LH_DOC_DATE];

    lh_doc_date(date);
    lh_buf_printf(b, ".Dd %s\n", date);
    lh_buf_put_z(b, ".Dt ");
    put_page_name(b, set->program);
    lh_buf_printf(b, " 1\n.Os Leasehold %s\n.Sh NAME\n.Nm ", LH_VERSION);
    put_page_name(b, set->program);
    lh_buf_put_z(b, "\n.Nd ");
    put_roff(b, set->summary);
    lh_buf_put_z(b, "\n.Sh SYNOPSIS\n.Bd -literal\n");
    put_roff(b, set->usage);
    lh_buf_put_z(b, "\n.Ed\n.Sh DESCRIPTION\n");
    put_roff(b, description);
    if (set->opts[0].name)
        lh_buf_put_z(b, "\n.Sh OPTIONS\n.Bl -tag -width Ds");
    for (const struct lh_opt *o = set->opts; o->name; o++) {
        lh_buf_put_z(b, "\n.It ");
        if (o->letter)
            lh_buf_printf(b, "Fl %c , ", o->letter);
        lh_buf_printf(b, "Fl -%s", o->name);
        if (o->type != LH_OPT_BOOL)
            lh_buf_printf(b, " Ar %s", arg_name(o));
        lh_buf_put_c(b, '\n');
        put_roff(b, o->help);
        if (def_of(o)) {
            lh_buf_put_z(b, "\nDefault: ");
            put_roff(b, def_of(o));
            lh_buf_put_c(b, '.');
        }
        if (o->env) {
            lh_buf_put_z(b, "\nEnvironment:\n.Ev ");
            lh_conf_put_env(b, o->name);
            lh_buf_put_z(b, " .");
        }
    }
    lh_buf_put_z(b, set->opts[0].name ? "\n.El\n" : "\n");
}

int lh_conf_docs(const struct lh_opt_set *set, const char *page, const char *description,
                 const struct lh_metric *const *tables, struct lh_buf *b, struct lh_err *err)
{
    if (strcmp(page, "man") == 0) {
        lh_conf_man(set, description, b);
    } else if (strcmp(page, "flags") == 0) {
        lh_buf_printf(b, "## %s\n\n", set->program);
        lh_conf_markdown(set, b);
    } else if (strcmp(page, "metrics") == 0) {
        lh_buf_printf(b, "## %s\n\n", set->program);
        for (; tables && *tables; tables++) {
            lh_metrics_markdown(*tables, b);
            lh_buf_put_c(b, '\n');
        }
    } else {
        return lh_err_set(err, LH_E_INVALID, "there is no page \"%s\": man, flags or metrics",
                          page);
    }
    return lh_buf_check(b, err);
}
