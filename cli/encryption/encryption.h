/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_ENCRYPTION_H
#define LEASEHOLD_CLI_ENCRYPTION_H

/* leasehold encryption: one function a verb, and what several of them need. */
#include <sys/stat.h>

#include "audit.h"
#include "cli.h"
#include "cluster.h"
#include "leasehold/atrest/config.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/kube/config.h"

struct enc_options {
    const char *file, *output, *fail_on;
    const char *provider, *resources, *name, *endpoint, *to, *drop;
    const char *kubeconfig, *context, *servers, *after, *method;
    const char *etcd, *cacert, *cert, *key, *snapshot, *etcd_prefix;
    int64_t rate, wait_ms, timeout_ms;
    bool fresh, help, json;
};

/* Each returns an exit status: 0, 1 (threshold reached, or a proof is missing), 2 (could not run).
 */
int enc_init(const struct enc_options *o);
int enc_check(const struct enc_options *o);
int enc_rotate(const struct enc_options *o);
int enc_rewrite(const struct enc_options *o);
int enc_status(const struct enc_options *o);

/* "leasehold encryption: text" on stderr; CLI_USAGE, which is "could not run" here. */
int enc_fail(const struct lh_err *err);
/* Items of a comma-separated list, owned, in out (char *). */
int enc_split(const char *list, struct lh_vec *out, struct lh_err *err);
void enc_list_done(struct lh_vec *list);

/* encryption_file.c: a configuration as it is on disk. */
struct enc_file {
    const char *path; /* borrowed */
    char *text;       /* owned, wiped when freed: keys are in it */
    size_t n;
    struct stat st;
    struct lh_atrest_config config;
    struct lh_vec findings;
    bool is_read;
};
int enc_file_read(const char *path, struct enc_file *out, struct lh_err *err);
void enc_file_done(struct enc_file *f);
/* Replaces a file at once: mode 0600, its owner as it was. */
int enc_file_put(const char *path, struct lh_str text, struct lh_err *err);

/* encryption_api.c: an API server, one request at a time. */
struct enc_api;
struct enc_api_limits {
    unsigned rate;       /* requests a second; 0: no limit */
    unsigned tries;      /* of a request that meets no answer, 429 or 5xx */
    unsigned timeout_ms; /* of each try */
};
/* server NULL: the kubeconfig's. loop is the caller's. */
int enc_api_open(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *server,
                 const struct enc_api_limits *limits, struct enc_api **out, struct lh_err *err);
void enc_api_close(struct enc_api *a);
const char *enc_api_server(const struct enc_api *a);
/* Any status is an answer, once the tries are used up. *out is owned. */
int enc_api_call(struct enc_api *a, const char *method, const char *path, const char *accept,
                 const struct lh_secret *body, int *status, struct lh_secret **out,
                 struct lh_err *err);
/* GET where nothing but 200 will do; what: how errors call the path, NULL: as it is. *out is owned.
 * LH_E_NOTFOUND for 404, else LH_E_DENIED. */
int enc_api_get(struct enc_api *a, const char *path, const char *what, const char *accept,
                struct lh_secret **out, struct lh_err *err);
int enc_api_get_json(struct enc_api *a, const char *path, const char *what, lh_json **out,
                     struct lh_err *err);
#define ENC_LEASES_PATH                                                                            \
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"                                   \
    "?labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver"
#define ENC_LEASES "the leases in kube-system"
/* Turns the loop for so long. */
int enc_wait(struct lh_loop *loop, lh_ms ms, struct lh_err *err);

/* encryption_servers.c: what each API server tells of itself. */
struct enc_server {
    char *url;     /* owned */
    char *trouble; /* owned; why it was not heard; NULL: it was */
    struct audit_server metrics;
};
struct enc_servers {
    struct lh_vec all; /* struct enc_server */
    int alive;         /* how many there are, by their leases; -1: not known */
    char *uncounted;   /* owned; why not */
};
/* urls NULL: the kubeconfig's. A server that does not answer is no error. */
int enc_servers_ask(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *urls,
                    struct enc_servers *out, struct lh_err *err);
void enc_servers_done(struct enc_servers *s);

/* encryption_phase.c: a rotation's steps, and who is at which. */
enum enc_change { ENC_AS_IT_IS, ENC_PROMOTED, ENC_DEMOTED, ENC_REMOVED, ENC_UNADDED };
/* text as this step of the rotation that it tells of would write it. LH_E_CONFLICT, LH_E_NOTFOUND:
 * it is not the step's turn. */
int enc_changed(struct lh_str text, enum enc_change what, struct lh_buf *out, struct lh_err *err);
const char *enc_phase_name(const struct lh_atrest_config *c); /* "settled", "added", "promoted" */
struct enc_phase {
    const char *name;
    char hashes[2][2 * 32 + 1];
};
struct enc_phases {
    struct enc_phase all[3]; /* the file's own first, then its neighbours */
    size_t n;
};
int enc_phases_of(const struct enc_file *f, struct enc_phases *out, struct lh_err *err);
enum enc_loading { ENC_LOADED, ENC_OTHER, ENC_OLDER, ENC_UNKNOWN };
/* *phase, static: a name of phases, "other" or "unknown". */
enum enc_loading enc_server_phase(const struct enc_server *s, const struct enc_file *f,
                                  const struct enc_phases *phases, const char **phase);

/* encryption_loaded.c: whether every API server has loaded this file. *who (owned, may be NULL): a
 * line for each one that has not, or whose state is not known. */
int enc_loaded(const struct enc_options *o, const struct enc_file *f, char **who,
               struct lh_err *err);
int enc_loaded_by_all(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *urls,
                      lh_ms wait_ms, const struct enc_file *f, char **who, struct lh_err *err);

/* encryption_scan.c: what etcd holds. */
struct enc_count {
    char *resource;
    struct lh_atrest_ref ref;
    char *key_id; /* "" */
    size_t count;
    bool is_locked; /* the config has nothing for them that opens them */
    char *example;  /* owned, a key of etcd; of locked ones */
};
struct enc_scan {
    const struct lh_atrest_config *config; /* borrowed; NULL: none */
    const struct lh_atrest_ref *need;      /* counts what needs it; NULL: none */
    size_t total, needed, unreadable;
    size_t locked;         /* whole, but no provider that the config has for them opens them */
    bool whole;            /* it saw what every cluster has */
    struct lh_vec counts;  /* struct enc_count */
    struct lh_vec samples; /* char *: keys that need it, unreadable and locked ones, 20 at most */
    int64_t revision;
    bool live, failed;
};
/* What a terminal could take for more than text is put as '?'. */
void enc_plain(char *text);
int enc_scan_run(const struct enc_options *o, struct enc_scan *s, struct lh_err *err);
void enc_scan_done(struct enc_scan *s);

#endif
