/* SPDX-License-Identifier: Apache-2.0 */
/* The volume's folder, which comes later than the engine that fills it. */
#include <unistd.h>

#include "volume.h"

static struct volume *of_gate(struct lh_sink *self)
{
    return (struct volume *)((char *)self - offsetof(struct volume, gate));
}

static int gate_publish(struct lh_sink *self, const struct lh_rendered_set *set, bool *changed,
                        struct lh_err *err)
{
    struct volume *v = of_gate(self);

    if (!v->folder)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the volume is not mounted");
    v->folder->before = self->before;
    v->folder->before_arg = self->before_arg;
    return v->folder->publish(v->folder, set, changed, err);
}

static const char *gate_shown(struct lh_sink *self)
{
    struct volume *v = of_gate(self);

    return v->folder ? v->folder->shown(v->folder) : "";
}

static bool gate_has(struct lh_sink *self, const char *path)
{
    struct volume *v = of_gate(self);

    return v->folder && v->folder->has(v->folder, path);
}

static int gate_clear(struct lh_sink *self, struct lh_err *err)
{
    struct volume *v = of_gate(self);

    return v->folder ? v->folder->clear(v->folder, err) : 0;
}

static bool gate_sweep(struct lh_sink *self)
{
    struct volume *v = of_gate(self);

    return !v->folder || v->folder->sweep(v->folder);
}

const struct lh_sink folder_gate = {.publish = gate_publish,
                                    .has = gate_has,
                                    .shown = gate_shown,
                                    .clear = gate_clear,
                                    .sweep = gate_sweep};

int folder_attach(struct volume *v, int dir, struct lh_err *err)
{
    int rc = lh_sink_folder_at(dir, (gid_t)-1, &v->folder, err);

    if (rc < 0)
        close(dir);
    else
        v->dir = dir;
    return rc;
}

void folder_detach(struct volume *v)
{
    if (v->folder)
        v->folder->free(v->folder);
    v->folder = NULL;
    if (v->dir >= 0)
        close(v->dir);
    v->dir = -1;
}
