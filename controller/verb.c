/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "controller.h"
#include "leasehold/core/log.h"

#define PAGE_MAX ((size_t)256 * 1024)

int controller_fail(const struct lh_opt_set *set, int status, const char *text)
{
    fprintf(stderr, "%s: %s\n", set->program, text);
    return status;
}

static int print(const struct lh_buf *b)
{
    struct lh_str s = lh_buf_peek(b);

    return fwrite(s.p, 1, s.n, stdout) == s.n ? CONTROLLER_OK : CONTROLLER_FAILED;
}

/* page NULL: help. */
static int print_docs(const struct lh_opt_set *set, const char *page, const char *description,
                      const struct lh_metric *const *tables)
{
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    lh_buf_init(&b, PAGE_MAX);
    if (!page)
        lh_conf_help(set, &b);
    else if (lh_conf_docs(set, page, description, tables, &b, &err) < 0)
        return controller_fail(set, CONTROLLER_USAGE, err.msg);
    return print(&b);
}

bool controller_parse(const struct lh_opt_set *set, const char *description,
                      const struct lh_metric *const *tables, int argc, char **argv, void *target,
                      const struct controller_common *common, struct lh_conf **conf, int *status)
{
    const char *const *args = NULL;
    enum lh_log_level level = LH_LOG_INFO;
    struct lh_err err = {0};
    int rc = lh_conf_parse(set, argc, argv, NULL, target, conf, &args, &err);

    *status = CONTROLLER_OK;
    if (rc == 0 && (common->help || common->docs)) {
        *status = print_docs(set, common->docs, description, tables);
        return false;
    }
    if (rc == 0 && common->version) {
        *status = puts("leasehold-controller " LH_VERSION) < 0 ? CONTROLLER_FAILED : CONTROLLER_OK;
        return false;
    }
    if (rc == 0 && args[0])
        rc = lh_err_set(&err, LH_E_INVALID, "unexpected argument; it takes options only");
    if (rc == 0 && lh_log_level_parse(common->log_level, &level) < 0)
        rc = lh_err_set(&err, LH_E_INVALID, "--log-level must be debug, info, warn, error or off");
    if (rc < 0) {
        *status = controller_fail(set, CONTROLLER_USAGE, err.msg);
        return false;
    }
    lh_log_init("leasehold-controller", level, STDERR_FILENO);
    return true;
}
