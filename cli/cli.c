/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <stdio.h>

#include "leasehold/core/mem.h"

#define HELP_MAX ((size_t)256 * 1024)

int cli_fail(const struct lh_opt_set *set, int status, const struct lh_err *err)
{
    fprintf(stderr, "%s: %s\n", set->program, err->msg);
    return status;
}

int cli_print(const struct lh_buf *b)
{
    struct lh_str s = lh_buf_peek(b);
    struct lh_err err;

    if (lh_buf_check(b, &err) < 0 || fwrite(s.p, 1, s.n, stdout) != s.n || fflush(stdout) != 0) {
        fputs("leasehold: the output could not be written\n", stderr);
        return CLI_FAILED;
    }
    return CLI_OK;
}

bool cli_parse(const struct lh_opt_set *set, int argc, char **argv, void *target, const bool *help,
               struct lh_conf **conf, const char *const **args, int *status)
{
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    lh_buf_init(&b, HELP_MAX);
    if (lh_conf_parse(set, argc, argv, NULL, target, conf, args, &err) < 0) {
        *status = cli_fail(set, CLI_USAGE, &err);
        return false;
    }
    if (!*help)
        return true;
    lh_conf_help(set, &b);
    *status = cli_print(&b);
    return false;
}
