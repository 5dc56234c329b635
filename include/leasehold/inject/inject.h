/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_INJECT_INJECT_H
#define LEASEHOLD_INJECT_INJECT_H

/*
 * Admission as a pure function: annotations, Pod, stores and platform policy in, JSON Patch or a
 * sentence out. No clock, no I/O, no state: same input, same bytes out, and on our own output no
 * change. The webhook wraps it in HTTP, `leasehold inject`, `lint` and `policy` in files.
 */
#include "leasehold/api/agentcfg.h"
#include "leasehold/api/allow.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/buf.h"
#include "leasehold/inject/policy.h"

/* What is ours in a Pod. */
#define LH_CONTAINER         "leasehold-agent"
#define LH_VOLUME_SECRETS    "leasehold-secrets"
#define LH_VOLUME_STATE      "leasehold-state"
#define LH_VOLUME_TOKEN      "leasehold-token"
#define LH_VOLUME_CA         "leasehold-ca"
#define LH_VOLUME_CREDENTIAL "leasehold-credential"
#define LH_VOLUME_PROJECTION "leasehold-projection-" /* and its place in the annotation */
#define LH_CSI_DRIVER        "csi.leasehold.dev"
#define LH_PROJECTIONS_MAX   32
#define LH_AGENT_BINARY      "/leasehold-agent" /* in the agent's image */
#define LH_AGENT_UID         65532              /* the image's numeric user and group */
#define LH_MOUNT_PATH        "/run/secrets/leasehold"
#define LH_AGENT_STATE_PATH  "/run/leasehold/state"
#define LH_AGENT_TOKEN_PATH  "/run/leasehold/token" /* the file in it is "token" */
#define LH_AGENT_CA_PATH     "/run/leasehold/ca"
#define LH_AGENT_CRED_PATH   "/run/leasehold/credential"
#define LH_AGENT_ENV_CONFIG  "LEASEHOLD_CONFIG"
#define LH_AGENT_ENV_POD     "LEASEHOLD_POD_NAME" /* downward API: names are not known at admission */
#define LH_AGENT_ENV_POD_UID "LEASEHOLD_POD_UID"
#define LH_ADMISSION_MAX     (3 * 1024 * 1024)
#define LH_ADMISSION_DEPTH   64

/* Everything that is not in the request. All borrowed. */
struct lh_inject_world {
    const struct lh_policy *policy;
    struct lh_store *const *stores; /* any order */
    size_t n_stores;
    /* false: unknown (then it has no labels). Borrowed until the next call. */
    bool (*find_namespace)(void *arg, const char *name, struct lh_namespace *out);
    /* render's lh_template_check, handed in because inject sits beside render, not above it. */
    int (*check_template)(const char *text, struct lh_err *err);
    void *arg;
};

/* One thing that is wrong, or worth a warning. */
struct lh_problem {
    char *where;        /* "leasehold.dev/secret.db", or a field of the Pod as "spec.hostPID" */
    const char *reason; /* word of api/reasons.h; NULL: a plain warning */
    char *text;
    bool deny;     /* false: the object is admitted, the user is told */
    bool outer;    /* where is on the workload itself, not on its Pod template */
    bool of_store; /* of the store or its allow, not of the Pod: may be mended without a new Pod */
};

/* A store that the object names and that is not known. */
struct lh_store_wanted {
    bool missing, cluster_scoped,
        any_kind; /* any_kind: SecretStore first, then ClusterSecretStore */
    char name[254];
};

struct lh_problems {
    struct lh_problem *v;
    size_t n;
    bool nomem; /* one could not be kept: treat as denied */
    struct lh_store_wanted wanted;
    bool namespace_unknown; /* find_namespace did not know it */
};

/* "where: Reason: text. See: kubectl leasehold explain Reason" (design 3); owned, NULL: no memory.
 */
char *lh_problem_text(const struct lh_problem *p);
/* The first that denies, or NULL. */
const struct lh_problem *lh_problems_denial(const struct lh_problems *ps);
void lh_problems_done(struct lh_problems *ps);

/* Where a Pod's metadata and spec sit inside an object; all borrowed from it, or static. */
struct lh_pod_at {
    const char *kind;        /* the object's */
    const lh_json *metadata; /* of the Pod or of the template; NULL: none */
    const lh_json *spec;
    const char *pointer;           /* JSON pointer of what holds both: "", "/spec/template", ... */
    const char *field;             /* the same as field path: "", "spec.template." */
    const lh_json *outer_metadata; /* of the workload; NULL for a Pod */
};
/* Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob. false for every other kind. */
bool lh_pod_at(const lh_json *object, struct lh_pod_at *out);

/* The object's own namespace, else namespace_ (the request's), else "default". */
const char *lh_pod_namespace(const struct lh_pod_at *pod, const char *namespace_);

/* What is to be injected. Free with lh_inject_plan_free. */
struct lh_inject_plan {
    struct lh_agentcfg *cfg; /* store, projection, notify, mode, paths, ports; NULL: no agent */
    char **projections;      /* SecretProjections mounted by CSI, NULL-terminated; NULL: none */
    char *mount_path;
    char **containers; /* as chosen, NULL-terminated; NULL: all */
    char *after;       /* NULL: none */
    char *image;
    const struct lh_policy *policy; /* borrowed */
    int64_t cpu_milli, memory_bytes, size_bytes;
    int64_t start_timeout_ms; /* 0: kubelet waits for ever */
    bool share_processes;
    bool memory_given;
};

/*
 * *out is NULL when nothing is to be injected: no annotation of ours, inject "false", or something
 * denies. problems collects everything, malformed things first. namespace_ is the request's, used
 * where the object names none. Negative only for LH_E_NOMEM and a Pod without a spec
 * (LH_E_INVALID).
 */
int lh_inject_plan(const struct lh_inject_world *w, const struct lh_pod_at *pod,
                   const char *namespace_, struct lh_inject_plan **out,
                   struct lh_problems *problems, struct lh_err *err);
void lh_inject_plan_free(struct lh_inject_plan *p);

/* The store that a Pod of ns would get: by name ("[SecretStore/|ClusterSecretStore/]NAME"), or NULL
 * for the namespace's default or only one. Borrowed from w; NULL, and a problem, when there is
 * none.
 */
struct lh_store *lh_inject_choose_store(const struct lh_inject_world *w,
                                        const struct lh_namespace *ns, const char *named,
                                        struct lh_problems *problems);

/* RFC 6902 patch of the object that pod points into; empty when nothing changes. Owned. May add
 * problems (ConfigTooLarge); *out is NULL then. */
int lh_inject_patch(const struct lh_inject_plan *plan, const struct lh_pod_at *pod, lh_json **out,
                    struct lh_problems *problems, struct lh_err *err);

/* Warnings about annotations that sit on the workload where they belong on its Pod template. */
int lh_inject_check_outer(const struct lh_pod_at *pod, struct lh_problems *problems,
                          struct lh_err *err);

/* Both steps on one object: plan and patch, and for workloads the misplaced annotations. *patch is
 * NULL when nothing is to be changed or something denies. */
int lh_inject_object(const struct lh_inject_world *w, const lh_json *object, const char *namespace_,
                     lh_json **patch, struct lh_problems *problems, struct lh_err *err);

/* An AdmissionReview v1 as it came; strings borrowed from root. */
struct lh_admission {
    lh_json *root; /* owned */
    const char *uid, *namespace_, *kind, *operation;
    const lh_json *object;
    struct lh_err refused; /* code set: well formed enough to answer, and the answer is no */
};
/*
 * LH_E_TOOBIG (http_status 413) past LH_ADMISSION_MAX, LH_E_INVALID (http_status 400) for what
 * cannot be answered by an AdmissionReview: no JSON, duplicate keys, invalid UTF-8, another kind or
 * version, no uid. Reason RequestInvalid or TooLarge.
 */
int lh_admission_parse(struct lh_str body, struct lh_admission *out, struct lh_err *err);
void lh_admission_done(struct lh_admission *a);

enum lh_verdict { LH_VERDICT_UNCHANGED, LH_VERDICT_PATCHED, LH_VERDICT_WARNED, LH_VERDICT_DENIED };

struct lh_inject_outcome {
    enum lh_verdict verdict;
    const char *reason;            /* of a denial or of the first warning with a word; NULL */
    struct lh_store_wanted wanted; /* missing: worth one look at the API server, then once more */
    bool namespace_unknown;        /* the same, where something was denied */
};
enum lh_review_kind { LH_REVIEW_MUTATE, LH_REVIEW_VALIDATE };

/* The answer's bytes for a parsed review. MUTATE: Pods, patched. VALIDATE: workloads (and Pods),
 * never patched; what only the store has to mend is a warning. */
int lh_inject_answer(const struct lh_inject_world *w, enum lh_review_kind kind,
                     const struct lh_admission *a, struct lh_buf *out,
                     struct lh_inject_outcome *outcome, struct lh_err *err);
/* Parse and answer: bytes in, bytes out. Errors as lh_admission_parse. */
int lh_inject_review(const struct lh_inject_world *w, enum lh_review_kind kind, struct lh_str body,
                     struct lh_buf *out, struct lh_inject_outcome *outcome, struct lh_err *err);

#endif
