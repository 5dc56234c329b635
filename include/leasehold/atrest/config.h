/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ATREST_CONFIG_H
#define LEASEHOLD_ATREST_CONFIG_H

/*
 * EncryptionConfiguration (apiserver.config.k8s.io/v1): read, judged, changed and written. Keys
 * live in lh_secret alone and enter no error and no finding. What an API server would refuse, or
 * accept to its user's harm, is a finding; only text that is no such document at all is an error.
 */
#include <stdint.h>
#include <sys/stat.h>

#include "leasehold/atrest/value.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/vec.h"

enum { LH_ATREST_CONFIG_MAX_BYTES = 1024 * 1024, LH_ATREST_FINDINGS_MAX = 1000 };

enum lh_atrest_severity {
    LH_ATREST_INFO,
    LH_ATREST_LOW,
    LH_ATREST_MEDIUM,
    LH_ATREST_HIGH,
    LH_ATREST_CRITICAL,
    LH_ATREST_SEVERITIES,
};
const char *lh_atrest_severity_name(enum lh_atrest_severity s); /* "info", "low", ... */

struct lh_atrest_finding {
    const char *id; /* static, one word: "IdentityFirst" */
    enum lh_atrest_severity severity;
    bool refused; /* an API server does not start with it, or does not reload it */
    char *where;  /* owned: "resources[0].providers[1].kms.name" */
    char *text;   /* owned, a sentence for people */
};

struct lh_atrest_key {
    char *name;               /* owned */
    struct lh_secret *secret; /* owned, decoded; NULL: it could not be */
};

struct lh_atrest_provider {
    enum lh_atrest_scheme scheme; /* IDENTITY, AESCBC, AESGCM, SECRETBOX, KMS_V1, KMS_V2 */
    struct lh_vec keys;           /* struct lh_atrest_key; of local ones */
    char *name, *endpoint;        /* owned; of KMS */
    int64_t timeout_ms;           /* 0: not given, which is 3 s */
    int64_t cache_size;           /* -1: not given; KMS v1 alone */
};

struct lh_atrest_rule {
    struct lh_vec resources; /* char *, owned */
    struct lh_vec providers; /* struct lh_atrest_provider */
};

/* Where a change of key stands, kept in a comment of the file: an API server skips it. Empty
 * strings: no change is under way. */
struct lh_atrest_rotation {
    char from[320], to[320]; /* as lh_atrest_ref_print() prints them */
};

struct lh_atrest_config {
    struct lh_vec rules; /* struct lh_atrest_rule */
    struct lh_atrest_rotation rotation;
};

/* text names itself in errors as what. *findings (struct lh_atrest_finding, initialised by the
 * caller) gets what is wrong with single fields. LH_E_INVALID, LH_E_TOOBIG, LH_E_NOMEM. */
int lh_atrest_config_read(struct lh_str text, const char *what, struct lh_atrest_config *out,
                          struct lh_vec *findings, struct lh_err *err);
void lh_atrest_config_done(struct lh_atrest_config *c);
void lh_atrest_findings_done(struct lh_vec *findings);
/* The highest there is, or -1 if there is none. */
int lh_atrest_findings_worst(const struct lh_vec *findings);
bool lh_atrest_findings_refused(const struct lh_vec *findings);

/* Adds what is unwise. st: of the file, or NULL where there is none. */
int lh_atrest_config_lint(const struct lh_atrest_config *c, const struct stat *st,
                          struct lh_vec *findings, struct lh_err *err);

/* As YAML into a wiping buffer: keys in it, so b is as secret as they are. Failure is sticky. */
void lh_atrest_config_write(const struct lh_atrest_config *c, struct lh_buf *b);

/* The first rule that covers a resource ("secrets", "deployments.apps"), by name or wildcard. */
const struct lh_atrest_rule *lh_atrest_config_rule(const struct lh_atrest_config *c,
                                                   const char *resource);

/* One thing that can open a value: "secretbox:key1", "kmsv2:vault", "identity". */
struct lh_atrest_ref {
    enum lh_atrest_scheme scheme;
    char name[256];
};
int lh_atrest_ref_parse(const char *text, struct lh_atrest_ref *out, struct lh_err *err);
void lh_atrest_ref_print(const struct lh_atrest_ref *r, char out[320]);
bool lh_atrest_ref_equal(const struct lh_atrest_ref *a, const struct lh_atrest_ref *b);
/* Whether a stored value needs it. */
bool lh_atrest_ref_opens(const struct lh_atrest_ref *r, const struct lh_atrest_value *v);
/* What writes by this rule. false: the rule has no provider. */
bool lh_atrest_rule_writer(const struct lh_atrest_rule *r, struct lh_atrest_ref *out);
bool lh_atrest_rule_has(const struct lh_atrest_rule *r, const struct lh_atrest_ref *ref);

/* A fresh key of the scheme's length (32 bytes), from the kernel. */
int lh_atrest_key_new(const char *name, struct lh_atrest_key *out, struct lh_err *err);
void lh_atrest_key_done(struct lh_atrest_key *k);

/* Changes in every rule that has from (add: whose writer it is). add: to comes right behind from,
 * so that it reads but does not write; key: of a local one, copied; endpoint: of a KMS one.
 * promote: to comes first. remove: gone; the last one that is left is never removed. LH_E_NOTFOUND:
 * no rule has it. LH_E_CONFLICT: it is there already, or writes. */
int lh_atrest_config_add(struct lh_atrest_config *c, const struct lh_atrest_ref *from,
                         const struct lh_atrest_ref *to, const struct lh_secret *key,
                         const char *endpoint, struct lh_err *err);
int lh_atrest_config_promote(struct lh_atrest_config *c, const struct lh_atrest_ref *to,
                             struct lh_err *err);
int lh_atrest_config_remove(struct lh_atrest_config *c, const struct lh_atrest_ref *ref,
                            struct lh_err *err);

#endif
