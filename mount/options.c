/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <limits.h>

#include "leasehold/core/doc_date.h"
#include "leasehold/core/mem.h"

enum flag { KUBELET_DIR, SOCKET, PEER_UID, LOG_LEVEL, VERSION, DOCS, HELP, OPTIONS };

static const struct {
    const char *name, *arg, *def, *help;
} table[OPTIONS] = {
    [KUBELET_DIR] = {"kubelet-dir", "DIR", "/var/lib/kubelet",
                     "Kubelet's folder, in a shared mount (mountPropagation: Bidirectional)."},
    [SOCKET] = {"socket", "PATH", "/run/leasehold/mount.sock", "Where requests are served."},
    [PEER_UID] = {"peer-uid", "N", "65532",
                  "The only user who may ask, and the owner of every volume."},
    [LOG_LEVEL] = {"log-level", "LEVEL", "info", "debug, info, warn, error or off."},
    [VERSION] = {"version", NULL, NULL, "Print the version and exit."},
    [DOCS] = {"docs", "PAGE", NULL, "Print a page of documentation (man, flags) and exit."},
    [HELP] = {"help", NULL, NULL, "Print this help and exit."},
};

static const char program[] = "leasehold-mount";
static const char usage[] = "leasehold-mount --kubelet-dir DIR --socket PATH --peer-uid N";
static const char summary[] =
    "Mounts memory volumes below kubelet's folder for leasehold-controller node.";
static const char description[] =
    "The privileged half of the node: it mounts and unmounts tmpfs volumes of Pods and owns the "
    "sockets that kubelet connects to, and hands descriptors of both to the half without "
    "privileges over a UNIX socket. It has no network, keeps two capabilities and 28 system calls, "
    "and reads nothing but /proc/self/mountinfo. On SIGTERM it ends at once; mounts stay. Linux "
    "5.8 "
    "or newer; from 6.4 on volumes are never swapped. Exit status: 0 ended by a signal, 1 failed, "
    "2 wrong options.";

/* What getopt_long says of a wrong one it says itself, with the program's name. */
static int wrong(struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "see leasehold-mount --help");
}

static int take(enum flag which, const char *value, struct lh_mount_options *o, struct lh_err *err)
{
    long long n;

    switch (which) {
    case KUBELET_DIR:
        o->kubelet_dir = value;
        break;
    case SOCKET:
        o->socket = value;
        break;
    case PEER_UID:
        if (!lh_str_to_i64(lh_str(value), 1, UINT_MAX - 1, &n))
            return lh_err_set(err, LH_E_INVALID, "--peer-uid must be a user's number, not root's");
        o->peer_uid = (uid_t)n;
        break;
    case LOG_LEVEL:
        if (lh_log_level_parse(value, &o->log_level) < 0)
            return lh_err_set(err, LH_E_INVALID,
                              "--log-level must be debug, info, warn, error or off");
        break;
    case VERSION:
        o->version = true;
        break;
    case DOCS:
        o->docs = value;
        break;
    case HELP:
        o->help = true;
        break;
    case OPTIONS:
        break;
    }
    return 0;
}

int lh_mount_options_parse(int argc, char **argv, struct lh_mount_options *o, struct lh_err *err)
{
    struct lh_mount_options got = {0};
    struct option longs[OPTIONS + 1] = {{0}};
    int c, rc = 0;

    for (int i = 0; i < OPTIONS; i++) {
        longs[i] = (struct option){.name = table[i].name,
                                   .has_arg = table[i].arg ? required_argument : no_argument,
                                   .val = 256 + i};
        if (table[i].def)
            (void)take((enum flag)i, table[i].def, &got, NULL);
    }
    optind = 0; /* glibc: from the start, also a second time */
    while (rc == 0) {
        c = getopt_long(argc, argv, "h", longs, NULL);
        if (c < 0)
            break;
        if (c == '?')
            return wrong(err);
        rc = take(c == 'h' ? HELP : (enum flag)(c - 256), optarg, &got, err);
    }
    if (rc < 0)
        return rc;
    if (optind < argc)
        return lh_err_set(err, LH_E_INVALID, "unexpected argument; it takes flags only");
    *o = got;
    return 0;
}

void lh_mount_options_help(struct lh_buf *b)
{
    lh_buf_printf(b, "Usage: %s\n\n%s\n\nOptions:\n", usage, summary);
    for (int i = 0; i < OPTIONS; i++) {
        lh_buf_printf(b, "  %s--%s", i == HELP ? "-h, " : "    ", table[i].name);
        if (table[i].arg)
            lh_buf_printf(b, " %s", table[i].arg);
        lh_buf_printf(b, "\n        %s", table[i].help);
        if (table[i].def)
            lh_buf_printf(b, "\n        Default: %s.", table[i].def);
        lh_buf_put_c(b, '\n');
    }
}

static void put_flags(struct lh_buf *b)
{
    lh_buf_printf(b, "## %s\n\n| flag | default | meaning |\n|---|---|---|\n", program);
    for (int i = 0; i < OPTIONS; i++) {
        const char *arg = table[i].arg, *def = table[i].def;

        lh_buf_printf(b, "| %s`--%s%s%s` | ", i == HELP ? "`-h`, " : "", table[i].name,
                      arg ? " " : "", arg ? arg : "");
        if (def)
            lh_buf_printf(b, "`%s`", def);
        lh_buf_printf(b, " | %s |\n", table[i].help);
    }
}

static void put_man(struct lh_buf *b)
{
    char date[LH_DOC_DATE];

    lh_doc_date(date);
    lh_buf_printf(b, ".Dd %s\n", date);
    lh_buf_printf(b, ".Dt %s 1\n.Os Leasehold %s\n.Sh NAME\n.Nm %s\n.Nd %s\n", program, LH_VERSION,
                  program, summary);
    lh_buf_printf(b, ".Sh SYNOPSIS\n.Bd -literal\n%s\n.Ed\n.Sh DESCRIPTION\n%s\n", usage,
                  description);
    lh_buf_put_z(b, ".Sh OPTIONS\n.Bl -tag -width Ds\n");
    for (int i = 0; i < OPTIONS; i++) {
        lh_buf_printf(b, ".It %sFl -%s", i == HELP ? "Fl h , " : "", table[i].name);
        if (table[i].arg)
            lh_buf_printf(b, " Ar %s", table[i].arg);
        lh_buf_printf(b, "\n%s\n", table[i].help);
        if (table[i].def)
            lh_buf_printf(b, "Default: %s.\n", table[i].def);
    }
    lh_buf_put_z(b, ".El\n");
}

int lh_mount_options_docs(const char *page, struct lh_buf *b, struct lh_err *err)
{
    if (lh_str_eqz(lh_str(page), "flags"))
        put_flags(b);
    else if (lh_str_eqz(lh_str(page), "man"))
        put_man(b);
    else
        return lh_err_set(err, LH_E_INVALID, "there is no page \"%s\": man or flags", page);
    return lh_buf_check(b, err);
}
