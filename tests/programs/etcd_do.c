/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/etcd for tests/component/test_etcd.py and bench: scans a source and prints one line of JSON.
 * argv: a prefix and a file; or a prefix, URLs, and maybe CA, certificate and key ("-": none). With
 * LIST in the environment a line comes for each key; with SLOWLY it waits for a line on stdin after
 * the first entry, and once more after each restart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/etcd/source.h"

static struct {
    struct lh_loop *loop;
    struct lh_etcd *etcd;
    const char *prefix;
    bool list, slowly, waited;
    uint64_t given, heads, unread;
    int rc;
} t;

static void wait_for_line(const char *what)
{
    char line[16];

    printf("{\"at\": \"%s\"}\n", what);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(3);
}

static void on_entry(void *arg, const struct lh_etcd_entry *e)
{
    (void)arg;
    t.given++;
    t.heads += e->value.n;
    t.unread += e->unread;
    if (t.list)
        printf("{\"key\": \"%.*s\", \"size\": %zu, \"head\": %zu, \"version\": %lld, \"lease\": "
               "%lld, \"unread\": %d}\n",
               (int)e->key.n, e->key.p, e->value_size, e->value.n, (long long)e->version,
               (long long)e->lease, e->unread);
    if (t.slowly && !t.waited)
        wait_for_line("first");
    t.waited = true;
}

static void on_restarted(void *arg)
{
    (void)arg;
    t.given = 0;
    if (t.slowly)
        wait_for_line("restarted");
}

static void end(const struct lh_err *err)
{
    if (err)
        printf("{\"error\": \"%s\", \"text\": \"%s\"}\n", lh_code_name(err->code), err->msg);
    t.rc = err != NULL;
    lh_loop_stop(t.loop);
}

/* Not getrusage: its figure starts with what the parent had at the fork. */
static long peak_kib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    long kib = -1;

    while (f && kib < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

static void on_scanned(void *arg, const struct lh_etcd_scanned *r, const struct lh_err *err)
{
    const lh_ms *begun = arg;

    if (r)
        printf("{\"entries\": %llu, \"given\": %llu, \"bytes\": %llu, \"heads\": %llu, "
               "\"unread\": %llu, \"revision\": %lld, \"restarts\": %u, \"retries\": %u, "
               "\"bad\": %llu, \"ms\": %lld, \"peak_kib\": %ld}\n",
               (unsigned long long)r->entries, (unsigned long long)t.given,
               (unsigned long long)r->value_bytes, (unsigned long long)t.heads,
               (unsigned long long)t.unread, (long long)r->revision, r->restarts, r->retries,
               (unsigned long long)(r->bad_pages + r->bad_entries),
               (long long)(lh_clock_now() - *begun), peak_kib());
    end(err);
}

static void on_about(void *arg, const struct lh_etcd_about *a, const struct lh_err *err)
{
    static lh_ms begun;
    struct lh_etcd_scan_options opts = {
        .prefix = t.prefix, .entry = on_entry, .restarted = on_restarted};
    struct lh_etcd_scan *scan;
    struct lh_err failed;

    (void)arg;
    if (err) {
        end(err);
        return;
    }
    printf("{\"version\": \"%s\", \"revision\": %lld, \"tls\": %d, \"cert\": %d, \"no_space\": %d, "
           "\"hash\": %d, \"matches\": %d, \"leader\": %d, \"cluster\": %d, \"members\": %zu, "
           "\"peers\": \"%s\"}\n",
           a->version, (long long)a->revision, a->tls, a->client_cert, a->no_space, a->hash_present,
           a->hash_matches, a->leader != 0, a->cluster_id != 0, a->n_members,
           a->n_members ? a->members[0].peer_urls : "");
    begun = lh_clock_now();
    if (lh_etcd_scan_start(t.etcd, &opts, on_scanned, &begun, &scan, &failed) < 0)
        end(&failed);
}

static const char *or_null(int argc, char **argv, int i)
{
    return argc > i && strcmp(argv[i], "-") != 0 ? argv[i] : NULL;
}

static int run(int argc, char **argv, struct lh_err *err)
{
    const struct lh_etcd_live_options opts = {.urls = argv[2],
                                              .ca_file = or_null(argc, argv, 3),
                                              .cert_file = or_null(argc, argv, 4),
                                              .key_file = or_null(argc, argv, 5)};
    struct lh_etcd_about_op *op;
    int rc = lh_loop_new(&t.loop, err);

    if (rc < 0)
        return rc;
    if (strstr(argv[2], "://"))
        rc = lh_etcd_open(t.loop, &opts, &t.etcd, err);
    else
        rc = lh_etcd_open_file(t.loop, argv[2], &t.etcd, err);
    if (rc == 0)
        rc = lh_etcd_about_start(t.etcd, on_about, NULL, &op, err);
    if (rc == 0)
        rc = lh_loop_run(t.loop, err);
    if (rc < 0)
        end(err);
    lh_etcd_free(t.etcd);
    lh_loop_free(t.loop);
    return rc;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};

    lh_mem_init();
    if (argc < 3 || lh_crypto_init(&err) < 0)
        return 2;
    t.prefix = argv[1];
    t.list = getenv("LIST") != NULL;
    t.slowly = getenv("SLOWLY") != NULL;
    run(argc, argv, &err);
    return t.rc;
}
