/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"
#include "support.h"

static struct lh_test_scratch scratch;
static struct lh_kube_config cfg;

static int setup(void **state)
{
    (void)state;
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
    cfg = (struct lh_kube_config){0};
    return lh_test_scratch_new(&scratch);
}

static int teardown(void **state)
{
    (void)state;
    lh_kube_config_done(&cfg);
    lh_test_scratch_done(&scratch);
    return 0;
}

static int load(const char *text, const char *context, struct lh_err *err)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/config", scratch.path);
    if (lh_test_write(scratch.fd, "config", text) < 0)
        fail_msg("cannot write %s", path);
    return lh_kube_config_load(path, context, &cfg, err);
}

#define HEAD                                                                                       \
    "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n"                                \
    "- name: a\n  context: {cluster: c, user: u, namespace: shop}\n"                               \
    "- name: b\n  context: {cluster: c}\n"
#define CLUSTER                                                                                    \
    "clusters:\n- name: c\n  cluster:\n    server: https://api:6443/\n"                            \
    "    certificate-authority-data: UEVNIENB\n    tls-server-name: kube\n"
#define USERS "users:\n- name: u\n  user:\n"

static void assert_secret(const struct lh_secret *s, const char *want)
{
    assert_non_null(s);
    assert_int_equal(lh_secret_len(s), strlen(want));
    assert_memory_equal(lh_secret_expose_const(s), want, strlen(want));
}

static void reads_data(void **state)
{
    struct lh_err err = {0};

    (void)state;
    if (load(HEAD CLUSTER USERS
             "    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n",
             NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(cfg.server, "https://api:6443");
    assert_string_equal(cfg.ca_pem, "PEM CA");
    assert_null(cfg.ca_file);
    assert_string_equal(cfg.tls_server_name, "kube");
    assert_string_equal(cfg.client_cert_pem, "CERT");
    assert_secret(cfg.client_key_pem, "KEY");
    assert_null(cfg.token);
    assert_string_equal(cfg.namespace_, "shop");
}

static void reads_files_beside_itself(void **state)
{
    struct lh_err err = {0};
    char want[300];

    (void)state;
    if (load(HEAD
             "clusters: [{name: c, cluster: {server: 'https://[::1]:1', certificate-authority: "
             "ca.pem}}]\n" USERS
             "    client-certificate: /abs/cert\n    client-key: sub/key\n    tokenFile: token\n",
             NULL, &err) < 0)
        fail_msg("%s", err.msg);
    snprintf(want, sizeof(want), "%s/ca.pem", scratch.path);
    assert_string_equal(cfg.ca_file, want);
    assert_string_equal(cfg.client_cert_file, "/abs/cert");
    snprintf(want, sizeof(want), "%s/sub/key", scratch.path);
    assert_string_equal(cfg.client_key_file, want);
    snprintf(want, sizeof(want), "%s/token", scratch.path);
    assert_string_equal(cfg.token_file, want);
}

static void chooses_a_context(void **state)
{
    (void)state;
    assert_int_equal(load(HEAD CLUSTER USERS "    token: t0ken\n", "b", NULL), 0);
    assert_string_equal(cfg.namespace_, "default");
    assert_null(cfg.token);
}

static void reads_a_token(void **state)
{
    (void)state;
    assert_int_equal(load(HEAD CLUSTER USERS "    token: t0ken\n", NULL, NULL), 0);
    assert_secret(cfg.token, "t0ken");
}

static void reads_json(void **state)
{
    (void)state;
    assert_int_equal(
        load("{\"current-context\":\"a\",\"contexts\":[{\"name\":\"a\",\"context\":{\"cluster\":"
             "\"c\"}}],"
             "\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://api\"}}]}",
             NULL, NULL),
        0);
    assert_string_equal(cfg.server, "https://api");
}

static const struct row {
    const char *name, *text, *context;
    int code;
    const char *msg;
} refused[] = {
    {"program for credentials", HEAD CLUSTER USERS "    exec: {command: aws}\n", NULL, LH_E_INVALID,
     "user \"u\" gets its credentials from a program (exec), which is not supported: use a token"},
    {"auth provider", HEAD CLUSTER USERS "    auth-provider: {name: gcp}\n", NULL, LH_E_INVALID,
     "auth-provider"},
    {"password", HEAD CLUSTER USERS "    username: x\n    password: s3cr3t\n", NULL, LH_E_INVALID,
     "uses a password"},
    {"impersonation", HEAD CLUSTER USERS "    as: root\n", NULL, LH_E_INVALID,
     "acts as somebody else"},
    {"certificate without key", HEAD CLUSTER USERS "    client-certificate-data: Q0VSVA==\n", NULL,
     LH_E_INVALID, "without the other"},
    {"certificate as data, key as file",
     HEAD CLUSTER USERS "    client-certificate-data: Q0VSVA==\n    client-key: k\n", NULL,
     LH_E_INVALID, "as data, the other as a file"},
    {"data that is no base64",
     HEAD CLUSTER USERS "    client-certificate-data: s3cr3t\n    client-key: k\n", NULL,
     LH_E_INVALID, "client-certificate-data of \"u\""},
    {"TLS switched off",
     HEAD "clusters: [{name: c, cluster: {server: https://a, insecure-skip-tls-verify: true}}]\n",
     NULL, LH_E_INVALID, "switches off the check"},
    {"proxy", HEAD "clusters: [{name: c, cluster: {server: https://a, proxy-url: http://p}}]\n",
     NULL, LH_E_INVALID, "behind a proxy"},
    {"plain HTTP", HEAD "clusters: [{name: c, cluster: {server: http://a}}]\n", NULL, LH_E_INVALID,
     "not https://"},
    {"user in the server", HEAD "clusters: [{name: c, cluster: {server: https://u@a}}]\n", NULL,
     LH_E_INVALID, "not https://HOST"},
    {"no host in the server", HEAD "clusters: [{name: c, cluster: {server: https:///x}}]\n", NULL,
     LH_E_INVALID, "not https://HOST"},
    {"no server", HEAD "clusters: [{name: c, cluster: {}}]\n", NULL, LH_E_INVALID, "has no server"},
    {"no such cluster", HEAD, NULL, LH_E_NOTFOUND, "there is no cluster \"c\""},
    {"no such user", HEAD CLUSTER, NULL, LH_E_NOTFOUND, "there is no user \"u\""},
    {"no such context", HEAD CLUSTER, "z", LH_E_NOTFOUND, "there is no context \"z\""},
    {"no current context", CLUSTER, NULL, LH_E_NOTFOUND, "no current-context"},
    {"no YAML", "a: [", NULL, LH_E_INVALID, "config:"},
    {"a list", "- a\n", NULL, LH_E_INVALID, "is no kubeconfig"},
    {"two documents", "a: 1\n---\nb: 1\n", NULL, LH_E_INVALID, "is no kubeconfig"},
};

static void refuses(void **state)
{
    const struct row *r = *state;
    struct lh_err err = {0};

    assert_int_equal(load(r->text, r->context, &err), -r->code);
    assert_null(cfg.server);
    if (!strstr(err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
    assert_null(strstr(err.msg, "s3cr3t"));
}

static void merges_a_list_of_files(void **state)
{
    char list[1000];
    struct lh_err err = {0};

    (void)state;
    snprintf(list, sizeof(list), "%s/missing:%s/one::%s/two", scratch.path, scratch.path,
             scratch.path);
    setenv("KUBECONFIG", list, 1);
    assert_int_equal(lh_kube_config_load(NULL, NULL, &cfg, &err), -LH_E_NOTFOUND);
    assert_int_equal(lh_test_write(scratch.fd, "one", CLUSTER "current-context: \"\"\n"), 0);
    assert_int_equal(lh_test_write(scratch.fd, "two",
                                   HEAD USERS
                                   "    token: t\n"
                                   "clusters: [{name: c, cluster: {server: https://late}}]\n"),
                     0);
    if (lh_kube_config_load(NULL, NULL, &cfg, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(cfg.server, "https://api:6443"); /* the first has it */
    assert_secret(cfg.token, "t");
}

static void a_single_missing_file_is_an_error(void **state)
{
    char path[300];
    struct lh_err err = {0};

    (void)state;
    snprintf(path, sizeof(path), "%s/missing", scratch.path);
    setenv("KUBECONFIG", path, 1);
    assert_int_equal(lh_kube_config_load(NULL, NULL, &cfg, &err), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, path));
}

static void reads_the_one_at_home(void **state)
{
    struct lh_err err = {0};

    (void)state;
    setenv("HOME", scratch.path, 1);
    assert_int_equal(lh_test_write(scratch.fd, ".kube/config", HEAD CLUSTER USERS "    token: t\n"),
                     0);
    if (lh_kube_config_load(NULL, NULL, &cfg, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(cfg.server, "https://api:6443");
}

static void reads_what_a_pod_has(void **state)
{
    struct lh_err err = {0};
    char want[300];

    (void)state;
    assert_int_equal(kube_config_mounted(scratch.path, "10.0.0.1", "443", &cfg, &err),
                     -LH_E_NOTFOUND);
    assert_int_equal(lh_test_write(scratch.fd, "namespace", "Shop!\n"), 0);
    assert_int_equal(kube_config_mounted(scratch.path, "10.0.0.1", "443", &cfg, &err),
                     -LH_E_INVALID);
    assert_int_equal(lh_test_write(scratch.fd, "namespace", "shop\n"), 0);
    assert_int_equal(kube_config_mounted(scratch.path, "fd00::1", "443", &cfg, &err), 0);
    assert_string_equal(cfg.server, "https://[fd00::1]:443");
    assert_string_equal(cfg.namespace_, "shop");
    snprintf(want, sizeof(want), "%s/token", scratch.path);
    assert_string_equal(cfg.token_file, want);
    snprintf(want, sizeof(want), "%s/ca.crt", scratch.path);
    assert_string_equal(cfg.ca_file, want);
}

static void outside_a_cluster_it_says_so(void **state)
{
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_kube_config_in_cluster(&cfg, &err), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "not in a cluster"));
}

static void survives_want_of_memory(void **state)
{
    static const char text[] = HEAD CLUSTER USERS
        "    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n    token: t\n";
    size_t live;
    unsigned long n = 0;
    int rc;

    (void)state;
    assert_int_equal(load(text, NULL, NULL), 0); /* whatever is made once is made now */
    lh_kube_config_done(&cfg);
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++n);
        rc = load(text, NULL, NULL);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || rc == -LH_E_NOMEM);
        lh_kube_config_done(&cfg);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 30, 3000);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reads_data),
        CASE(reads_files_beside_itself),
        CASE(chooses_a_context),
        CASE(reads_a_token),
        CASE(reads_json),
        CASE(merges_a_list_of_files),
        CASE(a_single_missing_file_is_an_error),
        CASE(reads_the_one_at_home),
        CASE(reads_what_a_pod_has),
        CASE(outside_a_cluster_it_says_so),
        CASE(survives_want_of_memory),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(refused)];
    int failures;

    for (size_t i = 0; i < LH_ARRAY_LEN(refused); i++)
        rows[i] = (struct CMUnitTest){refused[i].name, refuses, setup, teardown,
                                      (void *)(uintptr_t)&refused[i]};
    failures = cmocka_run_group_tests_name("kubeconfig", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("kubeconfig that is refused", rows, NULL, NULL);
}
