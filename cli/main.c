/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold, also as kubectl leasehold: one program of many commands. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/codec/json.h"

#define HELP_MAX ((size_t)256 * 1024)

static void put_usage(struct lh_buf *b)
{
    lh_buf_put_z(b, "Usage: leasehold COMMAND [OPTION...]\n\n"
                    "Secrets from an external manager, in the memory of the Pods that need "
                    "them.\n\nCommands:\n");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (!c->hidden)
            lh_buf_printf(b, "  %-10s %s\n", c->name, c->set->summary);
    }
    lh_buf_put_z(b, "\n`leasehold COMMAND --help` says more.\n");
}

static int print(void (*put)(struct lh_buf *b))
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, HELP_MAX);
    put(&b);
    return cli_print(&b);
}

static int unknown(const char *word)
{
    const char *names[64] = {NULL}, *near;
    size_t n = 0;

    for (const struct cli_command *c = cli_commands; c->name && n < LH_ARRAY_LEN(names) - 1; c++)
        names[n++] = c->name;
    near = lh_str_nearest(lh_str(word), names);
    fprintf(stderr, "leasehold: there is no command \"%s\"%s%s; `leasehold --help` lists them\n",
            word, near ? "; the nearest is " : "", near ? near : "");
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};

    lh_mem_init();
    lh_json_init();
    if (lh_proc_harden(&err) < 0) {
        fprintf(stderr, "leasehold: %s\n", err.msg);
        return CLI_FAILED;
    }
    if (argc < 2) {
        fputs("leasehold: name a command; `leasehold --help` lists them\n", stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return print(put_usage);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "--docs") == 0)
        argv[1] += 2; /* as the other programs have it */
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        if (strcmp(argv[1], c->name) == 0)
            return c->run(argc - 1, argv + 1);
    }
    return unknown(argv[1]);
}
