/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_SECRET_PLAN_H
#define LEASEHOLD_CONTROLLER_CLUSTER_SECRET_PLAN_H

/*
 * Which Kubernetes Secret a projection asks for, and whether one that is there is ours to write.
 * Pure. A key of the Secret is the last part of a file's path; two files of one last part are an
 * error, and so is a type outside a short list: a Secret of some types is a credential of the
 * cluster itself.
 */
#include "leasehold/codec/json.h"
#include "leasehold/render/render.h"

#define SECRET_LABEL    "leasehold.dev/projection-uid"
#define SECRET_DATA_MAX ((size_t)1000 * 1000) /* the API server takes 1 MiB, names included */

struct secret_spec { /* borrowed from the projection's kubernetesSecret */
    const char *name, *type;
    bool adopt;
};
/* LH_E_INVALID, naming the field. */
int secret_spec_read(const lh_json *kubernetes_secret, struct secret_spec *out, struct lh_err *err);

struct secret_owner { /* the projection */
    const char *namespace_, *name, *uid;
};

enum secret_claim {
    SECRET_ABSENT,
    SECRET_OURS,
    SECRET_TAKEN_OVER, /* adopt: it becomes ours with the next write */
    SECRET_FOREIGN,    /* never written */
};
/* meta: metadata of the Secret that is there; NULL: none is. */
enum secret_claim secret_claim(const lh_json *meta, const struct secret_owner *owner, bool adopt);

/* What is to be applied so that the Secret stays without us: its values as they are (secret: as
 * just read), no label, no owner, and a note by which the projection of this uid may have it back.
 */
int secret_plan_kept(const lh_json *secret, const char *uid, lh_json **out, struct lh_err *err);

/* The key that a file becomes; borrowed from path. */
const char *secret_key(const char *path);

/* What is to be applied; holds values. uid: of the Secret that is there, so that another of its
 * name is left alone; NULL: none. Every file has its bytes. LH_E_INVALID (FileConflict: two files
 * of one key, or a key that Kubernetes does not take), LH_E_TOOBIG (TooLarge). */
int secret_plan(const struct secret_spec *spec, const struct secret_owner *owner, const char *uid,
                const struct lh_rendered_set *set, lh_json **out, struct lh_err *err);

#endif
