/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold explain: what a reason word means and what to do. */
#include "cmd_explain.h"

#include <stdio.h>

#include "cli.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define MAX_REASONS 128
#define WIDTH       78

struct options {
    bool help;
};

static const struct lh_opt opts[] = {
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false,
     offsetof(struct options, help)},
    {0},
};

const struct lh_opt_set cmd_explain_option_set = {
    .program = "leasehold explain",
    .usage = "leasehold explain [REASON]",
    .summary = "Says what a reason word of a denial, a condition or a log line means, and what to "
               "do; without a word, lists all.",
    .opts = opts,
};

/* Words with two spaces in front, at most WIDTH columns a line. */
static void put_wrapped(struct lh_buf *b, const char *text)
{
    struct lh_str rest = lh_str(text), word;
    size_t column = 0;
    bool more = true;

    while (more) {
        more = lh_str_cut(rest, ' ', &word, &rest);
        if (column && column + 1 + word.n > WIDTH) {
            lh_buf_put_c(b, '\n');
            column = 0;
        }
        lh_buf_put_z(b, column ? " " : "  ");
        lh_buf_put_str(b, word);
        column += (column ? 1 : 2) + word.n;
    }
    lh_buf_put_c(b, '\n');
}

static int list_all(struct lh_buf *b)
{
    for (const struct lh_reason *r = lh_reason_list(); r->word; r++)
        lh_buf_printf(b, "%s\n", r->word);
    return cli_print(b);
}

static int explain(const char *word, struct lh_buf *b)
{
    const struct lh_reason *r = lh_reason_find(word);
    const char *words[MAX_REASONS] = {NULL};
    struct lh_err err = {0};
    const char *near;
    size_t n = 0;

    if (r) {
        lh_buf_printf(b, "%s\n\n", r->word);
        put_wrapped(b, r->meaning);
        lh_buf_put_z(b, "\nWhat to do:\n");
        put_wrapped(b, r->action);
        return cli_print(b);
    }
    for (const struct lh_reason *k = lh_reason_list(); k->word && n < MAX_REASONS - 1; k++)
        words[n++] = k->word;
    near = lh_str_nearest(lh_str(word), words);
    lh_err_fill(&err, LH_E_NOTFOUND, "there is no reason \"%.100s\"%s%s%s", word,
                near ? "; the nearest is " : "", near ? near : "",
                near ? "" : "; `leasehold explain` lists all");
    return cli_fail(&cmd_explain_option_set, CLI_FAILED, &err);
}

int cmd_explain(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    lh_auto_buf struct lh_buf b;
    int status;

    lh_buf_init(&b, (size_t)64 * 1024);
    if (cli_parse(&cmd_explain_option_set, argc, argv, &o, &o.help, &conf, &args, &status))
        status = args && args[0] ? explain(args[0], &b) : list_all(&b);
    lh_conf_free(conf);
    return status;
}
