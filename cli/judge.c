/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/api/annotations.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

#define POLICY_MAX ((size_t)1024 * 1024)

static bool find_namespace(void *arg, const char *name, struct lh_namespace *out)
{
    const struct judge *j = arg;

    if (j->objects)
        return lh_objects_namespace(j->objects, name, out);
    *out = (struct lh_namespace){.name = name};
    return true;
}

static int load_policy(struct judge *j, const char *path, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc;

    if (!path)
        return lh_policy_default(&j->policy, err);
    rc = lh_fs_read_at(AT_FDCWD, path, POLICY_MAX, &text, &n, err);
    return rc < 0 ? rc : lh_policy_parse((struct lh_str){text, n}, path, &j->policy, err);
}

int judge_open(struct judge *j, const char *stores, const char *policy, struct lh_err *err)
{
    const struct lh_objects_events none = {0};
    int rc;

    memset(j, 0, sizeof(*j));
    rc = load_policy(j, policy, err);
    if (rc == 0 && stores)
        rc = lh_objects_from_files(NULL, stores, &none, &j->objects, err);
    if (rc < 0) {
        judge_close(j);
        return rc;
    }
    j->world = (struct lh_inject_world){
        .policy = j->policy,
        .find_namespace = find_namespace,
        .check_template = lh_template_check,
        .arg = j,
    };
    if (j->objects)
        j->world.stores = lh_objects_stores(j->objects, &j->world.n_stores);
    return 0;
}

void judge_close(struct judge *j)
{
    lh_objects_free(j->objects);
    lh_policy_free(j->policy);
}

/* Where a problem stands in the document: an annotation, or a field. */
static int line_of(const struct lh_problem *p, const lh_json *object, struct lh_str text,
                   size_t document)
{
    bool annotation = strncmp(p->where, LH_ANNOTATION_PREFIX, strlen(LH_ANNOTATION_PREFIX)) == 0;
    lh_auto_free char *path = NULL;
    struct lh_pod_at at;

    if (!lh_pod_at(object, &at))
        return lh_yaml_line_of(text, document, "");
    path = annotation ? lh_asprintf("%smetadata.annotations[%s]", at.field, p->where)
                      : lh_asprintf("%s%s", at.field, p->where);
    return path ? lh_yaml_line_of(text, document, path) : 0;
}

unsigned judge_report(const struct lh_problems *ps, const lh_json *object, const char *file,
                      struct lh_str text, size_t document, bool with_stores)
{
    unsigned denying = 0;

    for (size_t i = 0; i < ps->n; i++) {
        const struct lh_problem *p = &ps->v[i];
        lh_auto_free char *sentence = NULL;

        if (p->of_store && !with_stores)
            continue; /* lint knows no stores: what only they can tell is not the manifest's fault
                       */
        sentence = lh_problem_text(p);
        fprintf(stderr, "%s:%d: %s%s\n", strcmp(file, "-") == 0 ? "stdin" : file,
                line_of(p, object, text, document),
                p->deny ? "" : "warning: ", sentence ? sentence : "out of memory");
        denying += p->deny;
    }
    return denying;
}
