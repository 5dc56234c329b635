/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_facts.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasehold/core/mem.h"

#define NOW_MS INT64_C(1800000000000)
#define DAY_MS ((int64_t)24 * 3600 * 1000)

enum { WORDS = 8 };

/* line is cut into words in room; words that are not there are "". */
static void split(const char *line, char room[2048], const char *words[WORDS])
{
    char *p = room, *save = NULL;

    assert_true(strlen(line) < 2048);
    memcpy(room, line, strlen(line) + 1);
    for (size_t i = 0; i < WORDS; i++, p = NULL) {
        const char *w = strtok_r(p, " ", &save);

        words[i] = w ? w : "";
    }
}

static enum audit_protection protection_of(const char *provider)
{
    static const struct {
        const char *provider;
        enum audit_protection protection;
    } known[] = {{"kmsv2", AUDIT_KMS},        {"kmsv1", AUDIT_KMS},    {"secretbox", AUDIT_LOCAL},
                 {"aesgcm", AUDIT_LOCAL},     {"aescbc", AUDIT_LOCAL}, {"identity", AUDIT_NONE},
                 {"unknown", AUDIT_MALFORMED}};

    for (size_t i = 0; i < LH_ARRAY_LEN(known); i++) {
        if (strcmp(known[i].provider, provider) == 0)
            return known[i].protection;
    }
    fail_msg("%s is no provider", provider);
    return AUDIT_MALFORMED;
}

/* A name of a type that outlives the fact. */
static const char *type_of(const char *word, size_t n)
{
    static const char *const known[] = {"kmsv2",  "kmsv1",  "secretbox",
                                        "aesgcm", "aescbc", "identity"};

    for (size_t i = 0; i < LH_ARRAY_LEN(known); i++) {
        if (strlen(known[i]) == n && memcmp(known[i], word, n) == 0)
            return known[i];
    }
    fail_msg("%s is no type", word);
    return "";
}

static void add(struct audit *a, const char *path, const struct audit_value *v)
{
    struct audit_path p;
    char key[512];

    snprintf(key, sizeof(key), "/registry/%s", path);
    assert_true(audit_path_parse(lh_str(key), LH_STR("/registry"), &p));
    assert_int_equal(audit_add(a, &p, v, NULL), 0);
    a->has_bytes = true;
}

static void stored(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];
    struct audit_value v;

    split(line, room, w);
    v = (struct audit_value){.protection = protection_of(w[1]),
                             .provider = w[1],
                             .name = lh_str(w[2]),
                             .key = lh_str(w[3]),
                             .source = lh_str(w[3]),
                             .revision = strtoll(w[4], NULL, 10)};
    add(a, w[0], &v);
}

static void text(struct audit *a, const char *line)
{
    const char *space = strchr(line, ' ');
    struct audit_value v = {.protection = AUDIT_NONE, .provider = "identity"};
    char path[256];

    assert_non_null(space);
    snprintf(path, sizeof(path), "%.*s", (int)(space - line), line);
    v.plain = lh_str(space + 1);
    add(a, path, &v);
}

static void seeds(struct audit *a, const char *line)
{
    char source[32];

    for (long i = strtol(line, NULL, 10); i > 0; i--) {
        struct audit_value v = {.protection = AUDIT_KMS, .provider = "kmsv2"};

        snprintf(source, sizeof(source), "wrapped-%ld", i);
        v.name = LH_STR("vault");
        v.key = LH_STR("k1");
        v.source = lh_str(source);
        add(a, "secrets/shop/a", &v);
    }
}

static void bytes(struct audit *a, const char *line)
{
    (void)line;
    a->has_bytes = true;
}

static void damaged(struct audit *a, const char *line)
{
    (void)line;
    a->is_damaged = true;
}

static void http(struct audit *a, const char *line)
{
    (void)line;
    a->is_live = a->etcd_plain_http = true;
}

static void nocert(struct audit *a, const char *line)
{
    (void)line;
    a->is_live = a->etcd_without_cert = true;
}

static void rule_resources(struct audit_rule *r, const char *list)
{
    struct lh_str rest = lh_str(list), one;

    while (rest.n) {
        char *copy;

        lh_str_cut(rest, ',', &one, &rest);
        copy = lh_str_dup(one);
        assert_non_null(lh_vec_push(&r->resources, &copy));
    }
}

static void rule(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];
    struct audit_rule r;

    split(line, room, w);
    lh_vec_init(&r.resources, sizeof(char *));
    lh_vec_init(&r.providers, sizeof(struct audit_provider));
    rule_resources(&r, w[0]);
    for (size_t i = 1; i < WORDS && *w[i]; i++) {
        size_t n = strcspn(w[i], ":");
        struct audit_provider p = {.type = type_of(w[i], n), .timeout_ms = 3000};

        p.name = lh_strdup(w[i][n] ? w[i] + n + 1 : "");
        p.endpoint = lh_strdup(strncmp(p.type, "kms", 3) == 0 ? "unix:///run/kms/kms.sock" : "");
        assert_non_null(lh_vec_push(&r.providers, &p));
    }
    assert_non_null(lh_vec_push(&a->rules, &r));
    a->has_config = true;
}

static unsigned octal(const char *word)
{
    return (unsigned)strtoul(word, NULL, 8);
}

static void config(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];

    split(line, room, w);
    a->config = (struct audit_file){.path = lh_strdup("/etc/enc.yaml"),
                                    .found = true,
                                    .mode = octal(w[0]),
                                    .uid = (unsigned)strtoul(w[1], NULL, 10),
                                    .dir_mode = octal(w[2]),
                                    .changed_ms = NOW_MS - strtoll(w[3], NULL, 10) * DAY_MS};
}

static void socket_file(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];
    struct audit_file f;

    split(line, room, w);
    f = (struct audit_file){.path = lh_strdup(w[0]),
                            .is_abstract = w[0][0] == '@',
                            .found = strcmp(w[1], "absent") != 0,
                            .is_socket = strcmp(w[1], "file") != 0,
                            .mode = octal(w[1]),
                            .uid = (unsigned)strtoul(w[2], NULL, 10),
                            .dir_mode = octal(w[3])};
    assert_non_null(lh_vec_push(&a->sockets, &f));
}

static void server(struct audit *a, const char *line)
{
    struct audit_server s = {.name = lh_strdup("one")};

    lh_vec_init(&s.series, sizeof(struct audit_series));
    assert_int_equal(audit_metrics_read(lh_str(line), &s, NULL), 0);
    assert_non_null(lh_vec_push(&a->servers, &s));
}

static void pods(struct audit *a, const char *line)
{
    (void)line;
    a->pods.read = true;
}

static void pod(struct audit *a, const char *line)
{
    lh_auto_json lh_json *j = NULL;

    assert_int_equal(lh_json_parse(lh_str(line), NULL, &j, NULL), 0);
    assert_int_equal(audit_take_pod(a, j, NULL), 0);
    a->pods.read = true;
}

static void cut(struct audit *a, const char *line)
{
    (void)line;
    a->workloads_cut = 1;
}

static void residue(struct lh_vec *v, const char *line)
{
    bool read = strcmp(line, "unread") != 0;
    struct audit_residue r = {.path = lh_strdup("/var/x"), .read = read, .has_log = true};

    r.plain = read ? strtoull(line, NULL, 10) : 0;
    assert_non_null(lh_vec_push(v, &r));
}

static void backup(struct audit *a, const char *line)
{
    residue(&a->backups, line);
}

static void leftover(struct audit *a, const char *line)
{
    residue(&a->leftovers, line);
}

static void canary(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];

    split(line, room, w);
    a->proved = true;
    a->canary = (struct audit_group){.resource = lh_strdup("secrets"),
                                     .namespace_ = lh_strdup("default"),
                                     .provider = lh_strdup(w[0]),
                                     .name = lh_strdup(w[1]),
                                     .key = lh_strdup(w[2]),
                                     .protection = protection_of(w[0]),
                                     .proof = AUDIT_PROVEN,
                                     .count = 1};
}

static void alive(struct audit *a, const char *line)
{
    const char *w[WORDS];
    char room[2048];

    split(line, room, w);
    a->servers_alive = (unsigned)strtoul(w[0], NULL, 10);
    a->servers_silent = (unsigned)strtoul(w[1], NULL, 10);
}

static void hash(struct audit *a, const char *line)
{
    for (size_t i = 0; i < 2; i++)
        snprintf(a->config_hashes[i], sizeof(a->config_hashes[i]), "%s", line);
}

static void plugin(struct audit *a, const char *line)
{
    struct audit_plugin p = {.metrics = {.name = lh_strdup("http://127.0.0.1:9747")}};
    const char *w[WORDS];
    char room[2048], text[256];

    split(line, room, w);
    p.key = lh_strdup(w[0]);
    p.created_s = (NOW_MS - strtoll(w[1], NULL, 10) * DAY_MS) / 1000;
    lh_vec_init(&p.metrics.series, sizeof(struct audit_series));
    for (size_t i = 2; i + 1 < WORDS && *w[i]; i += 2) {
        snprintf(text, sizeof(text), "leasehold_kms_warning{warning=\"%s\"} %s\n", w[i], w[i + 1]);
        assert_int_equal(audit_metrics_read(lh_str(text), &p.metrics, NULL), 0);
    }
    assert_non_null(lh_vec_push(&a->plugins, &p));
}

static void role(struct audit *a, const char *line)
{
    lh_auto_json lh_json *j = NULL;

    assert_int_equal(lh_json_parse(lh_str(line), NULL, &j, NULL), 0);
    assert_int_equal(audit_take_role(a, j, NULL), 0);
    a->rights.read = true;
}

static void binding(struct audit *a, const char *line)
{
    lh_auto_json lh_json *j = NULL;

    assert_int_equal(lh_json_parse(lh_str(line), NULL, &j, NULL), 0);
    assert_int_equal(audit_take_binding(a, j, NULL), 0);
}

void audit_facts(struct audit *a, const char *const *facts)
{
    static const struct {
        const char *verb;
        void (*plant)(struct audit *a, const char *line);
    } verbs[] = {{"stored", stored},   {"text", text},
                 {"seeds", seeds},     {"bytes", bytes},
                 {"damaged", damaged}, {"http", http},
                 {"nocert", nocert},   {"rule", rule},
                 {"config", config},   {"socket", socket_file},
                 {"server", server},   {"pods", pods},
                 {"pod", pod},         {"cut", cut},
                 {"backup", backup},   {"leftover", leftover},
                 {"canary", canary},   {"plugin", plugin},
                 {"role", role},       {"binding", binding},
                 {"alive", alive},     {"hash", hash}};

    a->now_ms = NOW_MS;
    for (; *facts && **facts; facts++) {
        size_t n = strcspn(*facts, " "), i = 0;

        while (i < LH_ARRAY_LEN(verbs) &&
               (strlen(verbs[i].verb) != n || memcmp(verbs[i].verb, *facts, n) != 0))
            i++;
        if (i == LH_ARRAY_LEN(verbs))
            fail_msg("no fact: %s", *facts);
        verbs[i].plant(a, *facts + n + ((*facts)[n] == ' '));
    }
}
