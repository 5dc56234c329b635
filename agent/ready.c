/* SPDX-License-Identifier: Apache-2.0 */
#include "ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define READY_NAME "ready"
#define READY_OK   "ok"

int ready_gate_init(struct ready_gate *g, const char *state_path, struct lh_err *err)
{
    *g = (struct ready_gate){.dir = -1};
    if (!state_path)
        return 0;
    g->dir = open(state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (g->dir < 0)
        return lh_err_os(err, errno, "open the folder %s for state", state_path);
    return 0;
}

static void write_line(struct ready_gate *g, const char *line)
{
    if (strcmp(line, g->last) == 0)
        return;
    snprintf(g->last, sizeof(g->last), "%s", line);
    /* A probe that reads an old line is told the new one a second later. */
    if (g->dir >= 0)
        (void)lh_fs_replace_at(g->dir, READY_NAME, 0600, g->last, strlen(g->last), NULL);
}

void ready_gate_say(struct ready_gate *g, const char *cause)
{
    if (!g->open)
        write_line(g, cause);
}

void ready_gate_open(struct ready_gate *g)
{
    g->open = true;
    write_line(g, READY_OK);
}

void ready_gate_done(struct ready_gate *g)
{
    if (g->dir >= 0)
        close(g->dir);
    g->dir = -1;
}

static bool is_published(const char *mount_path)
{
    lh_auto_fd int dir = open(mount_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    return dir >= 0 && lh_fs->fstatat(dir, "..data", &st, 0) == 0;
}

bool ready_probe(const struct lh_agentcfg *cfg, struct lh_buf *out)
{
    lh_auto_fd int dir = -1;
    lh_auto_free char *line = NULL;
    size_t n = 0;

    if (!cfg->state_path) {
        if (is_published(cfg->mount_path))
            return true;
        lh_buf_printf(out, "%s: nothing is published in %s yet; the agent's log says why",
                      LH_REASON_Starting, cfg->mount_path);
        return false;
    }
    dir = open(cfg->state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || lh_fs_read_at(dir, READY_NAME, sizeof(((struct ready_gate *)0)->last), &line, &n,
                                 NULL) < 0) {
        lh_buf_printf(out, "%s: the agent has not begun yet", LH_REASON_Starting);
        return false;
    }
    if (strcmp(line, READY_OK) == 0)
        return true;
    lh_buf_put_z(out, line);
    return false;
}
