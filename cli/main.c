/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold: the user's shell, also as kubectl leasehold (kubectl-leasehold on the PATH). */
#include <stdio.h>
#include <string.h>

#include "cmd_run.h"
#include "command.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/str.h"

const struct command commands[] = {
    {"inject", &cmd_inject_option_set, cmd_inject},
    {"lint", &cmd_lint_option_set, cmd_lint},
    {"run", &cmd_run_option_set, cmd_run},
    {"explain", &cmd_explain_option_set, cmd_explain},
    {"version", &cmd_version_option_set, cmd_version},
    {"docs", &cmd_docs_option_set, cmd_docs},
    {0},
};

static void print_commands(FILE *to)
{
    fputs("usage: leasehold COMMAND [OPTION...]; leasehold COMMAND --help\n\n", to);
    for (const struct command *c = commands; c->name; c++)
        fprintf(to, "  %-9s %s\n", c->name, c->set->summary);
}

static int unknown(const char *name)
{
    const char *names[LH_ARRAY_LEN(commands)];
    const char *nearest;

    for (size_t i = 0; i < LH_ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    nearest = lh_str_nearest(lh_str(name), names);
    fprintf(stderr, "leasehold: there is no command \"%s\"%s%s%s\n", name,
            nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};

    lh_mem_init();
    if (lh_proc_harden(&err) < 0) {
        fprintf(stderr, "leasehold: %s\n", err.msg);
        return CLI_FAILED;
    }
    lh_json_init();
    if (argc < 2) {
        print_commands(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_commands(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return puts("leasehold " LH_VERSION) < 0 ? CLI_FAILED : CLI_OK;
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(argv[1], c->name) == 0)
            return c->run(argc - 1, argv + 1);
    return unknown(argv[1]);
}
