/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/fs.h"

#define INPUT_MAX ((size_t)4 * 1024 * 1024)

int command_fail(const struct lh_opt_set *set, int status, const struct lh_err *err)
{
    fprintf(stderr, "%s: %s\n", set->program, err->msg);
    return status;
}

int command_print(const struct lh_buf *b)
{
    struct lh_str s = lh_buf_peek(b);

    if (lh_buf_check(b, NULL) < 0 || fwrite(s.p, 1, s.n, stdout) != s.n || fflush(stdout) != 0)
        return CLI_FAILED;
    return CLI_OK;
}

static int print_help(const struct lh_opt_set *set)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, (size_t)64 * 1024);
    lh_conf_help(set, &b);
    return command_print(&b);
}

int command_parse(const struct lh_opt_set *set, int argc, char **argv, void *target,
                  const bool *help, struct lh_conf **conf, const char *const **args)
{
    struct lh_err err = {0};

    if (lh_conf_parse(set, argc, argv, NULL, target, conf, args, &err) < 0)
        return command_fail(set, CLI_USAGE, &err);
    if (!*help)
        return -1;
    lh_conf_free(*conf);
    return print_help(set);
}

static int read_stdin(char **out, size_t *n, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    char chunk[8192];
    ssize_t got;

    lh_buf_init(&b, INPUT_MAX);
    while ((got = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
        lh_buf_put(&b, chunk, (size_t)got);
    if (got < 0)
        return lh_err_set(err, LH_E_OS, "standard input cannot be read");
    return lh_buf_finish(&b, out, n, err);
}

int command_read(const char *path, char **out, size_t *n, struct lh_err *err)
{
    if (strcmp(path, "-") == 0)
        return read_stdin(out, n, err);
    return lh_fs_read_at(AT_FDCWD, path, INPUT_MAX, out, n, err);
}
