/* SPDX-License-Identifier: Apache-2.0 */
/* Where a change of key stands, what each API server says, and what is stored with which key. */
#include <stdio.h>
#include <string.h>

#include "encryption_status.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define SAID_MAX ((size_t)64 << 20)

double status_metric(const struct enc_server *s, enum audit_metric m, const char *a)
{
    return audit_metrics_sum(&s->metrics, m, a, NULL);
}

bool status_reload_failed(const struct enc_server *s)
{
    double failed = status_metric(s, AUDIT_METRIC_RELOADED, "failure");

    return failed > 0 && failed > status_metric(s, AUDIT_METRIC_RELOADED, "success");
}

/* Each KMS v2 provider of the file, once. */
const char *status_provider(const struct lh_atrest_config *c, size_t *rule, size_t *provider)
{
    for (; *rule < c->rules.n; ++*rule, *provider = 0) {
        const struct lh_atrest_rule *r = lh_vec_at(&c->rules, *rule);

        while (*provider < r->providers.n) {
            const struct lh_atrest_provider *p = lh_vec_at(&r->providers, (*provider)++);

            if (p->scheme == LH_ATREST_KMS_V2 && p->name)
                return p->name;
        }
    }
    return NULL;
}

/* Servers that answer say the same of this provider; those that never asked it say nothing. */
static bool keys_agree(const struct enc_servers *servers, const char *provider)
{
    const char *one = NULL;
    double at;

    for (size_t i = 0; i < servers->all.n; i++) {
        const struct enc_server *s = lh_vec_at(&servers->all, i);
        const char *hash = audit_metrics_status(&s->metrics, provider, &at);

        if (hash && one && strcmp(hash, one) != 0)
            return false;
        one = hash ? hash : one;
    }
    return true;
}

bool status_agrees(const struct status *s)
{
    const char *phase, *first = NULL, *provider;
    size_t rule = 0, at = 0;

    for (size_t i = 0; i < s->servers.all.n; i++) {
        const struct enc_server *one = lh_vec_at(&s->servers.all, i);

        if (enc_server_phase(one, &s->f, &s->phases, &phase) == ENC_UNKNOWN)
            continue;
        if (first && strcmp(first, phase) != 0)
            return false;
        first = phase;
    }
    while ((provider = status_provider(&s->f.config, &rule, &at)))
        if (!keys_agree(&s->servers, provider))
            return false;
    return true;
}

/* Whether every server that tells what its plugin's key is tells of another one. */
static bool is_old_key(const struct status *s, const struct enc_count *c)
{
    char hash[sizeof("sha256:") + 2 * (size_t)LH_HASH_LEN] = "sha256:";
    uint8_t digest[LH_HASH_LEN];
    bool told = false;
    double at;

    if (c->ref.scheme != LH_ATREST_KMS_V2 ||
        lh_sha256(c->key_id, strlen(c->key_id), digest, NULL) < 0)
        return false;
    lh_hex(digest, sizeof(digest), hash + strlen("sha256:"));
    for (size_t i = 0; i < s->servers.all.n; i++) {
        const struct enc_server *one = lh_vec_at(&s->servers.all, i);
        const char *now = audit_metrics_status(&one->metrics, c->ref.name, &at);

        if (now && strcmp(now, hash) == 0)
            return false;
        told |= now != NULL;
    }
    return told;
}

bool status_is_stale(const struct status *s, const struct enc_count *c)
{
    const struct lh_atrest_config *config = &s->f.config;
    const struct lh_atrest_rule *rule = lh_atrest_config_rule(config, c->resource);
    struct lh_atrest_ref writer;
    bool writes = false;

    if (is_old_key(s, c))
        return true;
    if (rule)
        return !lh_atrest_rule_writer(rule, &writer) || !lh_atrest_ref_equal(&writer, &c->ref);
    /* A built-in kind whose group is not known here: by any rule. */
    for (size_t i = 0; i < config->rules.n; i++)
        writes |= lh_atrest_rule_writer(lh_vec_at(&config->rules, i), &writer) &&
                  lh_atrest_ref_equal(&writer, &c->ref);
    return !writes;
}

const char *status_proof(const struct status *s)
{
    /* As it is configured, which says nothing of what is stored. */
    if (!s->o->etcd && !s->o->snapshot)
        return "configured";
    return s->scan.unreadable || !s->scan.whole ? "not-proven" : "proven";
}

static bool is_well(const struct status *s)
{
    const char *phase;

    for (size_t i = 0; i < s->scan.counts.n; i++)
        if (status_is_stale(s, lh_vec_at(&s->scan.counts, i)))
            return false;
    for (size_t i = 0; i < s->servers.all.n; i++) {
        const struct enc_server *one = lh_vec_at(&s->servers.all, i);

        if (enc_server_phase(one, &s->f, &s->phases, &phase) != ENC_LOADED ||
            status_reload_failed(one))
            return false;
    }
    return s->scan.unreadable == 0 && status_agrees(s) &&
           (s->servers.alive < 0 || (size_t)s->servers.alive <= s->servers.all.n);
}

/* Only where it was asked for: status of a file, or of a snapshot, needs no cluster. */
static int ask(struct status *s, struct lh_err *err)
{
    const struct enc_options *o = s->o;
    struct cli_cluster c;
    int rc;

    if (!o->servers && !o->kubeconfig && !o->context)
        return 0;
    rc = cli_cluster_open(o->kubeconfig, o->context, &c, err);
    if (rc < 0)
        return rc;
    rc = enc_servers_ask(c.loop, &c.cfg, o->servers, &s->servers, err);
    s->asked = rc == 0;
    cli_cluster_close(&c);
    return rc;
}

static int gather(struct status *s, struct lh_err *err)
{
    int rc = lh_crypto_init(err);

    if (rc == 0)
        rc = enc_file_read(s->o->file, &s->f, err);
    if (rc < 0)
        return rc;
    s->scan.config = &s->f.config;
    rc = enc_phases_of(&s->f, &s->phases, err);
    if (rc == 0)
        rc = ask(s, err);
    if (rc == 0 && (s->o->etcd || s->o->snapshot))
        rc = enc_scan_run(s->o, &s->scan, err);
    return rc;
}

int enc_status(const struct enc_options *o)
{
    struct status s = {.o = o, .servers = {.alive = -1}};
    lh_auto_buf struct lh_buf said;
    struct lh_err err = {0};
    bool well = false;
    int rc;

    lh_buf_init(&said, SAID_MAX);
    lh_vec_init(&s.servers.all, sizeof(struct enc_server));
    rc = gather(&s, &err);
    if (rc == 0) {
        (o->json ? status_put_json : status_put_text)(&s, &said);
        well = is_well(&s);
    }
    enc_servers_done(&s.servers);
    enc_scan_done(&s.scan);
    enc_file_done(&s.f);
    if (rc < 0)
        return enc_fail(&err);
    if (cli_print(&said) != CLI_OK)
        return CLI_USAGE;
    return well ? CLI_OK : CLI_FAILED;
}
