/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold docs: reference pages from the tables in the code; docs/reference/ is checked against
 * them. */
#include <stddef.h>
#include <string.h>

#include "command.h"
#include "leasehold/api/annotations.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

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
    .usage = "leasehold docs annotations|reasons|flags|man",
    .summary = "Prints a reference page.",
    .opts = opts,
};

static void annotations(struct lh_buf *b)
{
    static const char *const suffix[] = {[LH_ANN_PLAIN] = "",
                                         [LH_ANN_PER_SECRET] = ".NAME",
                                         [LH_ANN_BOTH] = "[.NAME]",
                                         [LH_ANN_RESERVED] = ""};

    lh_buf_put_z(b, "# Annotations\n\nPrefix `leasehold.dev/`. NAME is the secret's name.\n\n"
                    "| annotation | value | left out | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < LH_ANN_COUNT; i++) {
        const struct lh_annotation *a = &lh_annotations[i];

        lh_buf_printf(b, "| `%s%s` | %s | %s | %s |\n", a->name, suffix[a->arity],
                      a->value ? a->value : "", a->def ? a->def : "", a->help);
    }
}

static void reasons(struct lh_buf *b)
{
    lh_buf_put_z(b, "# Reasons\n\nThe one closed list: denials, probe lines, log fields and metric "
                    "labels use these words.\n");
    for (const struct lh_reason *r = lh_reason_list(); r->word; r++)
        lh_buf_printf(b, "\n## %s\n%s\n\n%s\n", r->word, r->meaning, r->action);
}

static void flags(struct lh_buf *b)
{
    for (const struct command *c = commands; c->name; c++) {
        lh_buf_printf(b, "## %s\n\n%s\n\n    %s\n\n", c->set->program, c->set->summary,
                      c->set->usage);
        lh_conf_markdown(c->set, b);
        lh_buf_put_c(b, '\n');
    }
}

/* One page for the program, a section a command. */
static void man(struct lh_buf *b)
{
    static const struct lh_opt none[] = {{0}};
    const struct lh_opt_set whole = {
        .program = "leasehold",
        .usage = "leasehold COMMAND [OPTION...]",
        .summary = "Secrets of Vault and OpenBao in memory: the user's shell.",
        .opts = none,
    };
    lh_auto_buf struct lh_buf text;

    lh_buf_init(&text, (size_t)64 * 1024);
    lh_buf_put_z(&text, "Commands:");
    for (const struct command *c = commands; c->name; c++)
        lh_buf_printf(&text, " %s (%s)", c->name, c->set->summary);
    lh_buf_put_z(&text, " Each prints its options with --help. Exit status: 0 done, 1 failed or "
                        "denied, 2 wrong options.");
    lh_conf_man(&whole, lh_buf_peek(&text).p, b);
}

static const struct page {
    const char *name;
    void (*write)(struct lh_buf *b);
} pages[] = {{"annotations", annotations}, {"reasons", reasons}, {"flags", flags}, {"man", man}};

int cmd_docs(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    lh_auto_buf struct lh_buf b;
    int rc = command_parse(&cmd_docs_option_set, argc, argv, &o, &o.help, &conf, &args);

    lh_buf_init(&b, (size_t)1024 * 1024);
    if (rc >= 0)
        return rc;
    for (size_t i = 0; i < LH_ARRAY_LEN(pages); i++) {
        if (!args[0] || strcmp(args[0], pages[i].name) != 0)
            continue;
        pages[i].write(&b);
        lh_conf_free(conf);
        return command_print(&b);
    }
    lh_conf_free(conf);
    lh_err_fill(&err, LH_E_INVALID, "name a page: annotations, reasons, flags or man");
    return command_fail(&cmd_docs_option_set, CLI_USAGE, &err);
}
