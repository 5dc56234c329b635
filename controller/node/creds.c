/* SPDX-License-Identifier: Apache-2.0 */
#include "creds.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/providers/token_at_hand.h"

void node_creds_done(struct node_creds *c)
{
    for (size_t i = 0; i < c->n_secrets; i++) {
        lh_free(c->secrets[i].key);
        lh_secret_free(c->secrets[i].value);
    }
    lh_free(c->secrets);
    lh_secret_free(c->tokens);
    *c = (struct node_creds){0};
}

void node_creds_take(struct node_creds *c, struct csi_publish *p)
{
    struct node_creds now = {.tokens = LH_TAKE_PTR(p->tokens),
                             .secrets = LH_TAKE_PTR(p->secrets),
                             .n_secrets = p->n_secrets};

    p->n_secrets = 0;
    if (!now.tokens)
        now.tokens = LH_TAKE_PTR(c->tokens);
    node_creds_done(c);
    *c = now;
}

static int parse_tokens(const struct node_creds *c, lh_json **out, struct lh_err *err)
{
    int rc =
        lh_json_parse((struct lh_str){lh_secret_expose_const(c->tokens), lh_secret_len(c->tokens)},
                      NULL, out, err);

    return rc < 0 ? lh_err_wrap(err, rc, "the tokens that kubelet brought") : 0;
}

/* Kubelet brings fresh ones once a minute or so, long before these end. */
static bool has_ended(const lh_json *entry, int64_t wall_now)
{
    const char *end = lh_json_get_z(entry, "expirationTimestamp");
    int64_t at;

    return end && lh_clock_parse(end, &at) == 0 && at <= wall_now;
}

int node_token_for(const struct node_creds *c, const char *audience, const char *served,
                   int64_t wall_now, struct lh_secret **out, struct lh_err *err)
{
    lh_auto_json lh_json *map = NULL;
    const lh_json *entry;
    struct lh_str token;
    int rc;

    if (!c->tokens)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_UNAVAILABLE,
                                        "kubelet has brought no token of the Pod's account yet"),
                             LH_REASON_CredentialMissing);
    rc = parse_tokens(c, &map, err);
    if (rc < 0)
        return lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    entry = lh_json_get(map, audience ? audience : "");
    if (!entry || !lh_json_str(lh_json_get(entry, "token"), &token))
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_DENIED,
                                        "kubelet brings no token for audience \"%s\" (only for: "
                                        "%s): list it in the chart's node.audiences",
                                        audience ? audience : "",
                                        served && *served ? served : "none"),
                             LH_REASON_AudienceNotServed);
    if (has_ended(entry, wall_now))
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_UNAVAILABLE,
                                        "the token that kubelet brought has ended: it brings "
                                        "another within minutes"),
                             LH_REASON_CredentialMissing);
    return lh_secret_copy(token.p, token.n, out, err);
}

int node_secret_for(const struct node_creds *c, const char *key, const struct lh_secret **out,
                    struct lh_err *err)
{
    for (size_t i = 0; i < c->n_secrets; i++) {
        if (strcmp(c->secrets[i].key, key) == 0) {
            *out = c->secrets[i].value;
            return 0;
        }
    }
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_NOTFOUND,
                                    "the volume's nodePublishSecretRef must name the store's "
                                    "Secret, with key \"%s\"",
                                    key),
                         LH_REASON_CredentialMissing);
}

struct source {
    const struct node_creds *creds;
    const char *served;
    char *key; /* of the Secret; NULL: by audience */
};

static int get(void *arg, const char *audience, struct lh_secret **out, struct lh_err *err)
{
    const struct source *s = arg;
    const struct lh_secret *found;
    int rc;

    if (!s->key)
        return node_token_for(s->creds, audience, s->served, lh_clock_wall_ms(), out, err);
    rc = node_secret_for(s->creds, s->key, &found, err);
    return rc < 0 ? rc
                  : lh_secret_copy(lh_secret_expose_const(found), lh_secret_len(found), out, err);
}

static void source_free(void *arg)
{
    struct source *s = arg;

    lh_free(s->key);
    lh_free(s);
}

int node_token_source(struct lh_loop *loop, const struct node_creds *creds, const char *served,
                      const struct lh_store *store, struct lh_token_source **out,
                      struct lh_err *err)
{
    const struct lh_store_auth *a = &store->vault.auth;
    bool by_secret = a->method == LH_AUTH_APPROLE || a->method == LH_AUTH_TOKEN;
    struct source *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    *s = (struct source){.creds = creds, .served = served};
    s->key = by_secret ? lh_strdup(a->secret.key) : NULL;
    if (by_secret && !s->key) {
        source_free(s);
        return lh_err_nomem(err);
    }
    return lh_token_source_at_hand(loop, get, source_free, s, out, err);
}

static int memory_file(const struct lh_secret *from, int *fd, char **path, struct lh_err *err)
{
    int rc;

    *fd = memfd_create("leasehold", MFD_CLOEXEC);
    if (*fd < 0)
        return lh_err_os(err, errno, "memfd_create");
    rc = lh_fs_write_all(*fd, lh_secret_expose_const(from), lh_secret_len(from),
                         "the client certificate", err);
    if (rc < 0)
        return rc;
    *path = lh_asprintf("/proc/self/fd/%d", *fd);
    return *path ? 0 : lh_err_nomem(err);
}

int node_cert_files(const struct node_creds *c, int fds[2], char **cert, char **key,
                    struct lh_err *err)
{
    const struct lh_secret *crt = NULL, *pem = NULL;
    int rc = node_secret_for(c, "tls.crt", &crt, err);

    if (rc == 0)
        rc = node_secret_for(c, "tls.key", &pem, err);
    if (rc == 0)
        rc = memory_file(crt, &fds[0], cert, err);
    return rc < 0 ? rc : memory_file(pem, &fds[1], key, err);
}
