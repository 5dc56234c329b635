/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold docs: pages of docs/reference from the tables that the code itself uses. */
#include "cmd_docs.h"

#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "cli.h"
#include "leasehold/api/annotations.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "limit_table.h"

#define PAGE_MAX ((size_t)1024 * 1024)

struct options {
    bool help;
};

static const struct lh_opt opts[] = {
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false,
     offsetof(struct options, help)},
    {0},
};

const struct lh_opt_set cmd_docs_option_set = {
    .program = "leasehold docs",
    .usage = "leasehold docs annotations|reasons|limits|audit|flags|man",
    .summary = "Prints a page of the reference, as Markdown, or the man page.",
    .opts = opts,
};

/* A table cell: | would end it. */
static void put_cell(struct lh_buf *b, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '|')
            lh_buf_put_c(b, '\\');
        lh_buf_put_c(b, *text);
    }
}

static void put_annotation(struct lh_buf *b, const struct lh_annotation *a)
{
    static const char *const suffix[] = {[LH_ANN_PLAIN] = "",
                                         [LH_ANN_PER_SECRET] = ".NAME",
                                         [LH_ANN_BOTH] = "[.NAME]",
                                         [LH_ANN_RESERVED] = ""};

    lh_buf_printf(b, "| `%s%s` | ", a->name, suffix[a->arity]);
    put_cell(b, a->value);
    lh_buf_put_z(b, " | ");
    put_cell(b, a->def);
    lh_buf_put_z(b, " | ");
    put_cell(b, a->help);
    lh_buf_put_z(b, " |\n");
}

static void put_annotations(struct lh_buf *b)
{
    lh_buf_put_z(b, "# Annotations\n\nPrefix `" LH_ANNOTATION_PREFIX
                    "`, on a Pod or on the Pod template of a workload. NAME is what you call a "
                    "secret.\n\n| name | value | left out | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < LH_ANN_COUNT; i++) {
        if (lh_annotations[i].arity != LH_ANN_RESERVED)
            put_annotation(b, &lh_annotations[i]);
    }
    lh_buf_put_z(b, "\n## Reserved\n\nWritten by Leasehold, or meant for other objects; never "
                    "refused on a Pod.\n\n| name | meaning |\n|---|---|\n");
    for (int i = 0; i < LH_ANN_COUNT; i++) {
        if (lh_annotations[i].arity != LH_ANN_RESERVED)
            continue;
        lh_buf_printf(b, "| `%s` | ", lh_annotations[i].name);
        put_cell(b, lh_annotations[i].help);
        lh_buf_put_z(b, " |\n");
    }
}

static void put_reasons(struct lh_buf *b)
{
    lh_buf_put_z(b, "# Reasons\n\nOne closed list: the same words are in denials, probe lines, "
                    "logs, metrics and `leasehold explain REASON`.\n");
    for (const struct lh_reason *r = lh_reason_list(); r->word; r++)
        lh_buf_printf(b, "\n## %s\n\n%s\n\n**What to do:** %s\n", r->word, r->meaning, r->action);
}

static void put_limits(struct lh_buf *b)
{
    lh_buf_put_z(b, "# Limits\n\n| input | at most | past it |\n|---|---|---|\n");
    for (const struct cli_limit *l = cli_limits; l->input; l++) {
        lh_buf_put_z(b, "| ");
        put_cell(b, l->input);
        lh_buf_put_z(b, " | ");
        cli_limit_put(b, l);
        lh_buf_put_z(b, " | ");
        put_cell(b, l->past);
        lh_buf_put_z(b, " |\n");
    }
}

static void put_term(struct lh_buf *b, const char *name, const char *meaning)
{
    lh_buf_printf(b, "| `%s` | ", name);
    put_cell(b, meaning);
    lh_buf_put_z(b, " |\n");
}

static void put_check(struct lh_buf *b, const struct audit_check *c)
{
    const char *const cells[] = {c->title, c->proof, c->meaning, c->action};

    lh_buf_printf(b, "| %s | %s | ", c->id, audit_severity_name(c->severity));
    for (size_t i = 0; i < LH_ARRAY_LEN(cells); i++) {
        put_cell(b, cells[i]);
        lh_buf_put_z(b, i + 1 < LH_ARRAY_LEN(cells) ? " | " : " |\n");
    }
}

static void put_audit(struct lh_buf *b)
{
    lh_buf_put_z(b, "# Audit\n\nWhat `leasehold audit` says, word by word; [audit.md](../audit.md) "
                    "is how to use it.\n\n## Protections\nThe best first.\n\n| word | what it "
                    "means |\n|---|---|\n");
    for (int p = 0; p < AUDIT_PROTECTIONS; p++)
        put_term(b, audit_protection_name((enum audit_protection)p),
                 audit_protection_meaning((enum audit_protection)p));
    lh_buf_put_z(b, "\n## Grades of proof\n\n| word | from |\n|---|---|\n");
    for (int p = AUDIT_PROVEN; p >= AUDIT_INFERRED; p--)
        put_term(b, audit_proof_name((enum audit_proof)p),
                 audit_proof_meaning((enum audit_proof)p));
    lh_buf_put_z(b, "\n## Checks\nEach is `pass`, `fail` or `not-proven`; without its source it is "
                    "never `pass`.\n\n| check | severity | passes when | decided by | why it "
                    "matters | what to do |\n|---|---|---|---|---|---|\n");
    for (const struct audit_check *c = audit_checks; c->id; c++)
        put_check(b, c);
    lh_buf_put_z(b, "\nThese cannot fail, since what they ask for is not the cluster's to give:");
    for (const struct audit_check *c = audit_checks; c->id; c++) {
        if (c->reach == AUDIT_CONFIRMS)
            lh_buf_printf(b, " %s", c->id);
    }
    lh_buf_put_z(b, ".\n");
}

static void put_flags(struct lh_buf *b)
{
    bool any = false;

    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (c->hidden)
            continue;
        lh_buf_printf(b, "%s## %s\n\n`%s`\n\n%s\n\n", any ? "\n" : "", c->set->program,
                      c->set->usage, c->set->summary);
        lh_conf_markdown(c->set, b);
        any = true;
    }
}

/* One page for all commands. */
static void put_man(struct lh_buf *b)
{
    lh_buf_put_z(b, ".Dd $Mdocdate$\n.Dt LEASEHOLD 1\n.Os\n.Sh NAME\n.Nm leasehold\n"
                    ".Nd secrets from an external manager for Kubernetes Pods\n.Sh SYNOPSIS\n"
                    ".Nm\n.Ar command\n.Op Ar option ...\n.Sh DESCRIPTION\n"
                    "Works on manifests and on files, without a cluster unless a command says "
                    "otherwise.\nExit status is 0, 1 when something was refused or failed, and 2 "
                    "for wrong options.\n.Sh COMMANDS\n");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (c->hidden)
            continue;
        lh_buf_printf(b, ".Ss %s\n%s\n.Pp\n.Dl %s\n.Bl -tag -width Ds\n", c->name, c->set->summary,
                      c->set->usage);
        for (const struct lh_opt *o = c->set->opts; o->name; o++) {
            lh_buf_printf(b, ".It Fl Fl %s", o->name);
            if (o->letter)
                lh_buf_printf(b, " , Fl %c", o->letter);
            if (o->arg)
                lh_buf_printf(b, " Ar %s", o->arg);
            lh_buf_printf(b, "\n%s\n", o->help);
            if (o->def)
                lh_buf_printf(b, "Default: %s.\n", o->def);
        }
        lh_buf_put_z(b, ".El\n");
    }
    lh_buf_put_z(b, ".Sh SEE ALSO\n.Xr leasehold-agent 1 ,\n.Xr leasehold-webhook 1\n");
}

static const struct {
    const char *name;
    void (*put)(struct lh_buf *b);
} pages[] = {
    {"annotations", put_annotations},
    {"reasons", put_reasons},
    {"limits", put_limits},
    {"audit", put_audit},
    {"flags", put_flags},
    {"man", put_man},
};

static int page(const char *name, struct lh_buf *b)
{
    struct lh_err err = {0};

    for (size_t i = 0; name && i < LH_ARRAY_LEN(pages); i++) {
        if (strcmp(name, pages[i].name) == 0) {
            pages[i].put(b);
            return cli_print(b);
        }
    }
    lh_err_fill(&err, LH_E_INVALID,
                "name a page: annotations, reasons, limits, audit, flags or man");
    return cli_fail(&cmd_docs_option_set, CLI_USAGE, &err);
}

int cmd_docs(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    lh_auto_buf struct lh_buf b;
    int status;

    lh_buf_init(&b, PAGE_MAX);
    if (cli_parse(&cmd_docs_option_set, argc, argv, &o, &o.help, &conf, &args, &status))
        status = page(args ? args[0] : NULL, &b);
    lh_conf_free(conf);
    return status;
}
