/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has every API server read this very file? By the hash it tells in its metrics where it reloads,
 * else by a start after the file was last written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define WHO_MAX     ((size_t)64 * 1024)
#define CONFIG_INFO "apiserver_encryption_config_controller_last_config_info{"
#define START_TIME  "process_start_time_seconds "
#define LEASES                                                                                     \
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"                                   \
    "?labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver"
enum { LEASE_FRESH_MS = 60 * 1000, POLL_MS = 500 };

struct told {
    bool has_hash, hash_is_ours;
    double started;
};

/* The server's label is a digest of the content, or of its own name for it. */
static int our_hashes(const struct enc_file *f, char hashes[2][2 * LH_HASH_LEN + 1],
                      struct lh_err *err)
{
    uint8_t digest[LH_HASH_LEN];
    lh_auto_free char *named = NULL;
    int rc = lh_sha256(f->text, f->n, digest, err);

    if (rc < 0)
        return rc;
    lh_hex(digest, sizeof(digest), hashes[0]);
    named = lh_asprintf("k8s:enc:unstable:1:%s", hashes[0]);
    if (!named)
        return lh_err_nomem(err);
    rc = lh_sha256(named, strlen(named), digest, err);
    if (rc == 0)
        lh_hex(digest, sizeof(digest), hashes[1]);
    return rc;
}

static void read_line(struct lh_str line, char hashes[2][2 * LH_HASH_LEN + 1], struct told *t)
{
    if (lh_str_starts(line, LH_STR(CONFIG_INFO))) {
        t->has_hash = true;
        for (int i = 0; i < 2; i++)
            t->hash_is_ours |= memmem(line.p, line.n, hashes[i], strlen(hashes[i])) != NULL;
    } else if (lh_str_starts(line, LH_STR(START_TIME))) {
        char number[64] = "";

        snprintf(number, sizeof(number), "%.*s", (int)(line.n - strlen(START_TIME)),
                 line.p + strlen(START_TIME));
        t->started = strtod(number, NULL);
    }
}

static int ask(struct enc_api *a, const struct enc_file *f, struct told *out, struct lh_err *err)
{
    char hashes[2][2 * LH_HASH_LEN + 1];
    lh_auto_secret struct lh_secret *body = NULL;
    struct lh_str text, line;
    int status = 0, rc = our_hashes(f, hashes, err);

    *out = (struct told){.has_hash = false};
    if (rc == 0)
        rc = enc_api_call(a, "GET", "/metrics", "text/plain", NULL, &status, &body, err);
    if (rc < 0)
        return rc;
    if (status != 200)
        return lh_err_set(err, LH_E_DENIED, "%s answers %d to /metrics", enc_api_server(a), status);
    text = (struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)};
    while (text.n > 0) {
        lh_str_cut(text, '\n', &line, &text);
        read_line(line, hashes, out);
    }
    return 0;
}

static bool is_loaded(const struct told *t, const struct enc_file *f)
{
    double written = (double)f->st.st_ctim.tv_sec + (double)f->st.st_ctim.tv_nsec / 1e9;

    return t->has_hash ? t->hash_is_ours
                       : t->started > written + 1; /* its clock counts from a whole second */
}

/* API servers that lately renewed their lease; -1 if that cannot be asked. */
static int alive(struct enc_api *a)
{
    lh_auto_secret struct lh_secret *body = NULL;
    lh_auto_json lh_json *list = NULL;
    const lh_json *items;
    int status = 0, n = 0;

    if (enc_api_call(a, "GET", LEASES, NULL, NULL, &status, &body, NULL) < 0 || status != 200)
        return -1;
    if (lh_json_parse((struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)}, NULL,
                      &list, NULL) < 0)
        return -1;
    items = lh_json_get(list, "items");
    for (size_t i = 0; i < lh_json_len(items); i++) {
        const char *renewed = lh_json_get_z(lh_json_get(lh_json_at(items, i), "spec"), "renewTime");
        int64_t at = 0;

        if (renewed && lh_clock_parse(renewed, &at) == 0 &&
            lh_clock_wall_ms() - at < LEASE_FRESH_MS)
            n++;
    }
    return n;
}

static int ask_one(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *server,
                   const struct enc_file *f, size_t n_servers, struct lh_buf *who)
{
    /* Asked once: whoever wants to wait says --wait. */
    static const struct enc_api_limits limits = {.tries = 1, .timeout_ms = 10 * 1000};
    struct enc_api *a = NULL;
    struct lh_err err = {0};
    struct told t = {.has_hash = false};
    int rc = enc_api_open(loop, cfg, server, &limits, &a, &err), n;

    if (rc == 0)
        rc = ask(a, f, &t, &err);
    if (rc < 0)
        lh_buf_printf(who, "  not known: %s\n", err.msg);
    else if (!is_loaded(&t, f))
        lh_buf_printf(who, "  %s: %s\n", enc_api_server(a),
                      t.has_hash ? "has loaded another content" : "has not started since");
    n = rc == 0 && n_servers > 0 ? alive(a) : 0;
    if (n > 0 && (size_t)n > n_servers)
        lh_buf_printf(who, "  the cluster has %d API servers, --servers names %zu\n", n, n_servers);
    enc_api_close(a);
    return lh_buf_check(who, NULL);
}

static int ask_all(struct lh_loop *loop, const struct lh_kube_config *cfg,
                   const struct enc_options *o, const struct enc_file *f, struct lh_buf *who,
                   struct lh_err *err)
{
    struct lh_vec servers;
    int rc = enc_split(o->servers ? o->servers : cfg->server, &servers, err);

    if (rc < 0)
        return rc;
    /* The count of all is asked of the first alone. */
    for (size_t i = 0; rc == 0 && i < servers.n; i++)
        rc = ask_one(loop, cfg, *(char **)lh_vec_at(&servers, i), f, i ? 0 : servers.n, who);
    enc_list_done(&servers);
    return rc;
}

int enc_loaded(const struct enc_options *o, const struct enc_file *f, char **who,
               struct lh_err *err)
{
    lh_ms until = lh_clock_now() + o->wait_ms;
    struct lh_kube_config cfg = {0};
    struct lh_loop *loop = NULL;
    lh_auto_buf struct lh_buf b;
    int rc = lh_kube_config_load(o->kubeconfig, o->context, &cfg, err);

    lh_buf_init(&b, WHO_MAX);
    if (rc == 0)
        rc = lh_loop_new(&loop, err);
    while (rc == 0) {
        lh_buf_reset(&b);
        rc = ask_all(loop, &cfg, o, f, &b, err);
        if (rc < 0 || b.n == 0 || lh_clock_now() >= until)
            break;
        rc = enc_wait(loop, POLL_MS, err);
    }
    if (loop)
        lh_loop_free(loop);
    lh_kube_config_done(&cfg);
    if (rc == 0 && b.n > 0)
        rc = lh_buf_finish(&b, who, NULL, err);
    return rc;
}
