/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold explain: what a reason word means, and what to do. */
#include <stddef.h>
#include <stdio.h>

#include "command.h"
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

const struct lh_opt_set cmd_explain_option_set = {
    .program = "leasehold explain",
    .usage = "leasehold explain [REASON]",
    .summary = "Says what a reason word means and what to do; without one, lists them.",
    .opts = opts,
};

static int unknown(const char *word)
{
    const char *words[128] = {0};
    const struct lh_reason *all = lh_reason_list();
    const char *nearest;

    for (size_t i = 0; all[i].word && i + 1 < LH_ARRAY_LEN(words); i++)
        words[i] = all[i].word;
    nearest = lh_str_nearest(lh_str(word), words);
    fprintf(stderr, "leasehold explain: \"%s\" is no reason word%s%s%s\n", word,
            nearest ? "; did you mean " : "", nearest ? nearest : "",
            nearest ? "?" : "; leasehold explain lists them");
    return CLI_FAILED;
}

int cmd_explain(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    const struct lh_reason *r;
    lh_auto_buf struct lh_buf b;
    int rc = command_parse(&cmd_explain_option_set, argc, argv, &o, &o.help, &conf, &args);

    lh_buf_init(&b, (size_t)64 * 1024);
    if (rc >= 0)
        return rc;
    if (!args[0]) {
        for (r = lh_reason_list(); r->word; r++)
            lh_buf_printf(&b, "%s\n", r->word);
        rc = command_print(&b);
    } else {
        r = lh_reason_find(args[0]);
        if (r)
            lh_buf_printf(&b, "%s\n\n%s\n\n%s\n", r->word, r->meaning, r->action);
        rc = r ? command_print(&b) : unknown(args[0]);
    }
    lh_conf_free(conf);
    return rc;
}
