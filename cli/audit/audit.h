/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_H
#define LEASEHOLD_CLI_AUDIT_H

/*
 * What protects a cluster's secrets, as facts (etcd's bytes, the EncryptionConfiguration, metrics,
 * Pods, files) and as judgements on them. Facts are gathered by whoever has the source; the checks
 * are pure code over struct audit. Counts are kept per (resource, namespace, class, provider, key),
 * never per object, and no value is kept at all. What was cut because a cap was met is said.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/map.h"
#include "leasehold/core/vec.h"
#include "leasehold/etcd/leftovers.h"

struct audit;

enum audit_protection {
    AUDIT_EXTERNAL, /* secrets come by injection only */
    AUDIT_KMS,
    AUDIT_LOCAL,
    AUDIT_NONE,
    AUDIT_MALFORMED, /* an unknown prefix, or bytes that its prefix does not allow */
    AUDIT_PROTECTIONS
};
enum audit_proof { AUDIT_INFERRED, AUDIT_CONFIGURED, AUDIT_PROVEN };
/* audit_terms.c: names as in JSON, titles and sentences for people. */
const char *audit_protection_name(enum audit_protection p);
const char *audit_protection_title(enum audit_protection p);
const char *audit_protection_meaning(enum audit_protection p);
const char *audit_proof_name(enum audit_proof p);
const char *audit_proof_meaning(enum audit_proof p);

/* audit_path.c: keys below /registry. */
struct audit_path {
    char resource[320];       /* "secrets", "deployments.apps", "things.example.org" */
    struct lh_str namespace_; /* empty: cluster scope; borrowed from the key */
    struct lh_str name;       /* borrowed from the key */
};
/* prefix: as --etcd-prefix of kube-apiserver, "/registry". false: not an object's key. */
bool audit_path_parse(struct lh_str key, struct lh_str prefix, struct audit_path *out);

/* How one stored value is protected; all borrowed. */
struct audit_value {
    enum audit_protection protection;
    const char *provider; /* "kmsv2", "kmsv1", "secretbox", "aesgcm", "aescbc", "identity" */
    struct lh_str name;   /* of the KMS provider or of the local key */
    struct lh_str key;    /* KMS v2: key_id */
    struct lh_str source; /* KMS v2: the wrapped data key */
    struct lh_str plain;  /* identity: the value itself; looked at, never kept */
    int64_t revision;     /* of the last change; 0: not known */
};

struct audit_group {
    char *resource, *namespace_, *provider, *name, *key; /* owned, never NULL */
    enum audit_protection protection;
    enum audit_proof proof;
    uint64_t count;
    int64_t oldest, newest; /* revisions */
};

/* A Secret that a Pod uses, looked up while the bytes are read. */
struct audit_used {
    bool found;
    enum audit_protection protection;
    enum audit_proof proof;
};

struct audit_workload {
    char *kind, *namespace_, *name; /* owned */
    bool injected;                  /* by annotation or by a CSI volume */
    unsigned sources;               /* secrets that its Pods are injected with, not in etcd */
    struct lh_vec secrets;          /* char *: names of Secrets that it uses */
    uint64_t pods;
};

/* One series that some check looks at. */
enum audit_metric {
    AUDIT_METRIC_STATUS,   /* a: provider, b: key_id hash; when Status said so, seconds */
    AUDIT_METRIC_KEY_USED, /* a: provider, b: key_id hash; when it was last used, seconds */
    AUDIT_METRIC_WRITES,   /* a: resource, b: prefix; values written */
    AUDIT_METRIC_CONFIG,   /* b: hash of the configuration */
    AUDIT_METRIC_CACHE,    /* a: provider; decrypted seeds held */
    AUDIT_METRIC_LATENCY,  /* b: upper bound; calls to the plugin within it */
    AUDIT_METRIC_LISTS,    /* LIST requests answered */
    AUDIT_METRIC_WARNING,  /* a: what leasehold-kms warns of; 1: it does */
    AUDIT_METRIC_RELOADS,  /* a: "success" or "failure"; of the configuration, how many */
    AUDIT_METRIC_RELOADED, /* a: the same; when the last one was, seconds */
    AUDIT_METRIC_BAD_KEY,  /* a: provider; key ids of Status that were refused */
    AUDIT_METRIC_STARTED,  /* when the process started, seconds */
    AUDIT_METRICS
};
struct audit_series {
    enum audit_metric metric;
    char *a, *b; /* owned, never NULL */
    double value;
};
struct audit_server {
    char *name;
    struct lh_vec series; /* struct audit_series */
    bool cut;             /* more series than are kept */
};

/* audit_metrics.c: the Prometheus text of one API server; lines that are none are passed over. */
void audit_server_done(struct audit_server *s); /* what it owns */
int audit_metrics_read(struct lh_str text, struct audit_server *out, struct lh_err *err);
/* The q quantile of the plugin's latency in seconds; negative: nothing measured. */
double audit_metrics_latency(const struct audit_server *s, double q);
/* Hash of the key that Status named last, and when; NULL: no such provider (NULL: any). */
const char *audit_metrics_status(const struct audit_server *s, const char *provider, double *at);
double audit_metrics_sum(const struct audit_server *s, enum audit_metric m, const char *a,
                         const char *b);
/* Secrets that API servers wrote by this scheme ("aescbc", "identity") since they started. */
double audit_metrics_written(const struct audit *a, const char *scheme);

/* One provider of one rule of the EncryptionConfiguration. */
struct audit_provider {
    const char *type; /* "kmsv2", ... as in audit_value */
    char *name;       /* of the KMS provider or the first key; "" */
    char *endpoint;   /* "" */
    int64_t timeout_ms;
};
struct audit_rule {
    struct lh_vec resources; /* char *: as written: "secrets", "*.", "*.*" */
    struct lh_vec providers; /* struct audit_provider; the first writes */
};

/* A file that matters, as found here. */
struct audit_file {
    char *path;
    bool found, is_socket, is_abstract;
    unsigned mode, dir_mode;
    unsigned uid;
    int64_t changed_ms; /* wall */
};

/* A kept snapshot, a database file or a data folder: what its bytes hold of Secrets. */
struct audit_residue {
    char *path;
    bool read;                 /* all of it, and none of it damaged */
    bool has_log;              /* the write-ahead log too */
    uint64_t plain;            /* values of Secrets in plain text, wherever they stand */
    char *why;                 /* not all of it was read; NULL or "" */
    struct lh_leftovers found; /* by place and key; empty where nothing was read */
};

/* One leasehold-kms, as its own port tells. */
struct audit_plugin {
    struct audit_server metrics; /* AUDIT_METRIC_WARNING */
    char *key;                   /* key_id that it advertises; "" */
    int64_t created_s;           /* of that key's version, at the manager; 0: not known */
};

/* Who may read Secrets through the API, by RBAC; Kubernetes' own components apart. */
struct audit_rights {
    bool read;
    bool everybody;       /* a group that everybody is in may read Secrets */
    struct lh_map *roles; /* "namespace/name", "/name" of a ClusterRole: what it grants */
    struct lh_map *all;   /* "Kind namespace/name": who may read every Secret */
    struct lh_map *some;  /* ... those of some namespace */
    struct lh_map *exec;  /* ... who may run programs in any Pod */
    bool cut;             /* more subjects than are kept */
};

struct audit_pods {
    bool read;              /* Pods were listed */
    bool from_bytes;        /* out of etcd, not from the API server */
    unsigned apiservers;    /* Pods of kube-apiserver */
    bool encryption_flag;   /* one of them has --encryption-provider-config */
    bool encryption_absent; /* one of them has not */
    bool etcd_plain;        /* reaches etcd by http */
    bool health_excluded;   /* its probes leave KMS out */
    unsigned etcds;         /* Pods of etcd */
    bool etcd_no_client_auth, etcd_no_peer_auth, etcd_exposed;
    unsigned plugin_pods; /* Pods that mount the folder of a KMS socket and are not static */
    unsigned plugin_static;
    unsigned managers;     /* Pods that run Vault or OpenBao */
    uint64_t env_literals; /* of Pods, with names of secrets and a value */
    uint64_t unread;       /* in etcd, and their bytes were not readable */
};

enum { AUDIT_MAX_GROUPS = 50000, AUDIT_MAX_SEEDS = 65536, AUDIT_MAX_WORKLOADS = 20000 };

struct audit {
    /* bytes */
    bool has_bytes, is_live, is_damaged, etcd_plain_http, etcd_without_cert;
    char *source;          /* for people: an address or a file; "" */
    struct lh_map *groups; /* struct audit_group */
    struct lh_map *seeds;  /* "provider key hash" to NULL */
    struct lh_map *used;   /* "namespace/name" to struct audit_used */
    uint64_t objects, bytes, skipped_keys, groups_cut, seeds_cut, workloads_cut;
    uint64_t secrets_unused, secrets_used;
    uint64_t config_in_configmap; /* ConfigMaps that hold an EncryptionConfiguration */
    uint64_t secret_like;         /* ConfigMaps with a private key or a token in them */
    uint64_t configmaps_unread;   /* encrypted: not looked into */
    int64_t revision;
    size_t members; /* of etcd, as it tells itself; 0: not told */
    /* configuration */
    bool has_config;
    struct lh_vec rules; /* struct audit_rule */
    struct audit_file config;
    char config_hashes[2][65]; /* in hex, as API servers may call what they run with; "" */
    struct lh_vec sockets;     /* struct audit_file */
    /* API servers */
    struct lh_vec servers;   /* struct audit_server */
    unsigned servers_alive;  /* how many there are, by what they tell of themselves; 0: not known */
    unsigned servers_silent; /* that were asked and did not answer */
    struct audit_pods pods;
    struct lh_map *workloads; /* struct audit_workload */
    /* files */
    struct lh_vec backups, leftovers; /* struct audit_residue */
    /* --prove: one Secret was written, found in etcd as canary says, read back, and removed. */
    bool proved;
    struct audit_group canary;
    struct lh_vec plugins; /* struct audit_plugin */
    struct audit_rights rights;
    int64_t now_ms; /* wall */
    bool hash_names;
    struct lh_vec troubles; /* char *: what could not be read */
};

int audit_init(struct audit *a, struct lh_err *err);
void audit_done(struct audit *a);
/* Takes one stored value in. LH_E_NOMEM. */
int audit_add(struct audit *a, const struct audit_path *p, const struct audit_value *v,
              struct lh_err *err);
/* Once Pods are known: what they are injected with, as groups of secrets; inferred, not stored. */
int audit_add_external(struct audit *a, struct lh_err *err);
/* What audit_add() took in since audit_init(): gone. */
int audit_forget_bytes(struct audit *a, struct lh_err *err);
/* Copies of what v and p say. LH_E_NOMEM, and then there is nothing to be freed. */
int audit_group_init(struct audit_group *g, const struct audit_path *p, const struct audit_value *v,
                     struct lh_err *err);
void audit_group_done(struct audit_group *g);
/* Groups sorted by resource (secrets first), namespace, class, key: struct audit_group *. */
int audit_groups(const struct audit *a, struct lh_vec *out, struct lh_err *err);
/* Counts of a resource by class; namespace NULL: all. */
void audit_counts(const struct audit *a, const char *resource, const char *namespace_,
                  uint64_t out[AUDIT_PROTECTIONS]);
int audit_trouble(struct audit *a, struct lh_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* audit_config.c */
/* The rule that a resource meets first, by name, "*.group" or "*.*"; NULL: none. */
const struct audit_rule *audit_rule_of(const struct audit *a, const char *resource);
const struct audit_provider *audit_writer_of(const struct audit *a, const char *resource);

/* audit_stored.c: a Pod as etcd has it, in plain text, into what audit_take_pod() takes; *out is
 * owned. LH_E_INVALID: it is none, or does not parse. */
int audit_stored_pod(struct lh_str stored, lh_json **out, struct lh_err *err);

/* audit_pods.c: one Pod as the API server has it. */
int audit_take_pod(struct audit *a, const lh_json *pod, struct lh_err *err);
/* What audit_take_pod() took in since audit_init(): gone. */
int audit_forget_pods(struct audit *a, struct lh_err *err);
/* The class of a workload: the worst of the Secrets that it uses; external only without any. */
enum audit_protection audit_workload_class(const struct audit *a, const struct audit_workload *w,
                                           enum audit_proof *proof);
/* Sorted by namespace, kind, name: struct audit_workload *. */
int audit_workload_list(const struct audit *a, struct lh_vec *out, struct lh_err *err);

/* audit_rights.c: one Role or ClusterRole; then one RoleBinding or ClusterRoleBinding. */
int audit_take_role(struct audit *a, const lh_json *role, struct lh_err *err);
int audit_take_binding(struct audit *a, const lh_json *binding, struct lh_err *err);

/* audit_leftovers.c: files and folders that were searched. */
lh_json *audit_leftovers_json(const struct audit *a);

/* audit_checks.c */
enum audit_severity { AUDIT_INFO, AUDIT_LOW, AUDIT_MEDIUM, AUDIT_HIGH, AUDIT_CRITICAL };
enum audit_result { AUDIT_PASS, AUDIT_FAIL, AUDIT_NOT_PROVEN, AUDIT_RESULTS };
const char *audit_severity_name(enum audit_severity s);
const char *audit_result_name(enum audit_result r);

/* What a check can come to. Whatever it is, without its sources it is not proven. */
enum audit_reach {
    AUDIT_DECIDES, /* pass or fail */
    AUDIT_CONFIRMS /* pass only: its absence is no fault of the cluster */
};

struct audit_check {
    const char *id;
    enum audit_severity severity;
    enum audit_reach reach;
    const char *title;   /* what is well when it passes */
    const char *meaning; /* why it matters */
    const char *action;  /* what a person should do */
    const char *proof;   /* which source decides it */
    /* Writes the detail, one line. */
    enum audit_result (*judge)(const struct audit *a, struct lh_buf *detail);
};
extern const struct audit_check audit_checks[]; /* ended by id NULL */

struct audit_verdict {
    const struct audit_check *check;
    enum audit_result result;
    char *detail;
};
/* verdicts: struct audit_verdict, in the order of the table. */
int audit_judge(const struct audit *a, struct lh_vec *verdicts, struct lh_err *err);
void audit_verdicts_done(struct lh_vec *verdicts);

/* Writers. Never a value; names as hashes where a->hash_names. */
void audit_put_text(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b);
void audit_put_json(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b);
void audit_put_html(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b);
/* A name as it is shown: itself, or 12 hex digits of a hash that is keyed for this run. */
const char *audit_shown(const struct audit *a, const char *name, char room[256]);

#endif
