/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_AGENTCFG_H
#define LEASEHOLD_API_AGENTCFG_H

/*
 * The agent's configuration: one versioned JSON document, written by the webhook, read from
 * LEASEHOLD_CONFIG or a file. No secret in it. A webhook of version N writes what agents N and N-1
 * read; an agent refuses a newer one (ConfigTooNew). Unknown fields are errors: a typo must not
 * pass silently.
 */
#include "leasehold/api/projection.h"
#include "leasehold/api/store.h"

#define LH_AGENTCFG_VERSION 1
#define LH_AGENTCFG_MAX     (96 * 1024)

enum lh_agent_mode { LH_AGENT_SIDECAR, LH_AGENT_INIT };
enum lh_notify_kind { LH_NOTIFY_NONE, LH_NOTIFY_SIGNAL, LH_NOTIFY_EXEC, LH_NOTIFY_HTTP };

struct lh_notify_spec {
    enum lh_notify_kind kind;
    int signo;
    char *process; /* signal */
    char **argv;   /* exec, NULL-terminated */
    char *url;     /* http, loopback only */
};

struct lh_agentcfg {
    int version;
    enum lh_agent_mode mode;
    char *cluster, *namespace_, *service_account, *pod; /* cluster and pod may be NULL */
    struct lh_store *store;                             /* one reference */
    struct lh_projection *projection;
    struct lh_notify_spec notify;
    char *mount_path;          /* where files are published */
    char *state_path;          /* folder of the state volume; NULL: none kept */
    char *token_file;          /* projected ServiceAccount token; NULL for other methods */
    char *credential_path;     /* folder of the mounted Secret for appRole, cert, token; NULL */
    char *ca_path;             /* folder of the mounted ConfigMap of caBundleRef; NULL */
    mode_t default_mode;       /* 0440 or 0444 */
    int metrics_port;          /* 0: none */
    char *log_level;           /* NULL: info */
    char **allow_addresses;    /* the platform's CIDRs, NULL-terminated; NULL: none */
    lh_json *namespace_labels; /* for the allow check once more in the agent; NULL */
};

/* from: names the source in errors. allow_loopback is the caller's business (--config FILE). */
int lh_agentcfg_parse(struct lh_str text, const char *from, struct lh_agentcfg **out,
                      struct lh_err *err);
/* Deterministic text (sorted keys). LH_E_TOOBIG (ConfigTooLarge) past LH_AGENTCFG_MAX, naming the
 * largest item. */
int lh_agentcfg_write(const struct lh_agentcfg *c, struct lh_buf *b, struct lh_err *err);
void lh_agentcfg_free(struct lh_agentcfg *c);

/* "signal:HUP@nginx", "exec:[\"/bin/x\"]", "http://127.0.0.1:8080/reload". */
int lh_notify_parse(const char *text, struct lh_notify_spec *out, struct lh_err *err);
void lh_notify_done(struct lh_notify_spec *n);
/* The same text again; nothing for LH_NOTIFY_NONE. */
void lh_notify_put(struct lh_buf *b, const struct lh_notify_spec *n);
const char *lh_signal_name(int signo); /* "HUP"; NULL: none that may be sent */

#endif
