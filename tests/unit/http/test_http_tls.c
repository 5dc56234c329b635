/* SPDX-License-Identifier: Apache-2.0 */
/* Who is trusted, by what name, and that a change of certificates takes effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "rig.h"

static struct lh_http *http;
static struct outcome out;
static struct lh_test_scratch dir, home;
static char key_log[300];
static struct lh_cert_pair client_cert, stranger;

static int group_setup(void **state)
{
    if (lh_test_scratch_new(&home) < 0)
        return -1;
    snprintf(key_log, sizeof(key_log), "%s/keys", home.path);
    setenv("SSLKEYLOGFILE", key_log, 1);
    if (rig_group_setup(state) < 0 ||
        lh_x509_new_client_leaf(&rig.ca, "agent", 1, &client_cert, NULL) < 0)
        return -1;
    return lh_x509_new_client_leaf(&rig.other_ca, "stranger", 1, &stranger, NULL);
}

static int group_teardown(void **state)
{
    lh_cert_pair_done(&client_cert);
    lh_cert_pair_done(&stranger);
    lh_test_scratch_done(&home);
    return rig_group_teardown(state);
}

static int setup(void **state)
{
    memset(&out, 0, sizeof(out));
    http = NULL;
    return rig_setup(state) < 0 || lh_test_scratch_new(&dir) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    outcome_free(&out);
    lh_http_free(http);
    lh_test_scratch_done(&dir);
    return rig_teardown(state);
}

static void get(struct lh_http *h, const char *path)
{
    outcome_free(&out);
    rig_get(h, path, &out);
    assert_true(rig_wait(&out));
}

static void refused(const char *says)
{
    assert_false(out.is_answer);
    assert_int_equal(out.code, LH_E_UNAVAILABLE);
    assert_string_equal(out.reason, "CertificateInvalid");
    assert_false(out.sent);
    if (!strstr(out.text, says))
        fail_msg("\"%s\" does not say \"%s\"", out.text, says);
    assert_non_null(strstr(out.text, "127.0.0.1:"));
    assert_int_equal(rig.requests, 0);
}

static void a_foreign_ca_is_refused(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.ca_pem = lh_str(rig.other_ca.cert_pem);
    http = rig_client(&o);
    get(http, "/echo");
    refused("not trusted");
}

static void a_wrong_name_is_refused(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.server_name = "other.test";
    http = rig_client(&o);
    get(http, "/echo");
    refused("not for \"other.test\"");
}

static void without_a_name_the_address_is_checked(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.server_name = NULL;
    http = rig_client(&o);
    get(http, "/echo");
    refused("not for \"127.0.0.1\"");
}

/* The machine's own bundle must not step in. */
static void without_a_ca_nothing_is_trusted(void **state)
{
    struct lh_http_options o = {.allow_loopback = true, .server_name = RIG_NAME};

    (void)state;
    http = rig_client(&o);
    get(http, "/echo");
    refused("no CA");
}

static void the_host_header_stays(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    http = rig_client(&o);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
    assert_string_equal(rig.last_host, rig.base + strlen("https://"));
}

static void a_bundle_that_is_no_pem_is_refused_at_once(void **state)
{
    struct lh_http_options o = rig_options();
    struct lh_err err = {0};

    (void)state;
    o.ca_pem = LH_STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_int_equal(lh_http_new(rig.loop, &o, &http, &err), -LH_E_INVALID);
    assert_string_equal(err.reason, "CertificateInvalid");
    assert_null(http);
}

static void file_options(struct lh_http_options *o, char path[300])
{
    *o = rig_options();
    snprintf(path, 300, "%s/ca.crt", dir.path);
    o->ca_pem = (struct lh_str){NULL, 0};
    o->ca_file = path;
}

static void a_missing_ca_file_is_an_error_until_it_is_there(void **state)
{
    struct lh_http_options o;
    char path[300];

    (void)state;
    file_options(&o, path);
    http = rig_client(&o);
    get(http, "/echo");
    refused("ca.crt");
    assert_int_equal(lh_test_write(dir.fd, "ca.crt", rig.ca.cert_pem), 0);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
}

static void a_rotated_ca_file_takes_effect(void **state)
{
    struct lh_http_options o;
    struct lh_server_stats stats;
    char path[300];

    (void)state;
    file_options(&o, path);
    assert_int_equal(lh_test_write(dir.fd, "ca.crt", rig.ca.cert_pem), 0);
    http = rig_client(&o);
    get(http, "/echo");
    get(http, "/echo");
    assert_int_equal(out.status, 200);
    lh_server_stats(rig.server, &stats);
    assert_int_equal(stats.accepted, 1);

    /* The connection that the old CA vouched for is not used any more. */
    assert_int_equal(lh_test_write(dir.fd, "new", rig.other_ca.cert_pem), 0);
    assert_int_equal(renameat(dir.fd, "new", dir.fd, "ca.crt"), 0);
    rig.requests = 0;
    get(http, "/echo");
    refused("not trusted");

    assert_int_equal(lh_test_write(dir.fd, "new", rig.ca.cert_pem), 0);
    assert_int_equal(renameat(dir.fd, "new", dir.fd, "ca.crt"), 0);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
}

static void a_broken_or_missing_ca_file_keeps_the_last_good(void **state)
{
    struct lh_http_options o;
    char path[300];

    (void)state;
    file_options(&o, path);
    assert_int_equal(lh_test_write(dir.fd, "ca.crt", rig.ca.cert_pem), 0);
    http = rig_client(&o);
    get(http, "/echo");
    assert_int_equal(lh_test_write(dir.fd, "ca.crt", "half a cert"), 0);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
    assert_int_equal(unlinkat(dir.fd, "ca.crt", 0), 0);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
}

/* A request that is under way when the CA changes still ends. */
static void a_rotation_leaves_requests_alone(void **state)
{
    struct lh_http_options o;
    struct outcome held;
    char path[300];

    (void)state;
    file_options(&o, path);
    assert_int_equal(lh_test_write(dir.fd, "ca.crt", rig.ca.cert_pem), 0);
    http = rig_client(&o);
    rig_get(http, "/hold", &held);
    assert_true(rig_wait_held(1));
    assert_int_equal(lh_test_write(dir.fd, "new", rig.other_ca.cert_pem), 0);
    assert_int_equal(renameat(dir.fd, "new", dir.fd, "ca.crt"), 0);
    get(http, "/echo");
    assert_string_equal(out.reason, "CertificateInvalid");
    lh_call_answer(rig.held[0], 200, "text/plain", LH_STR("late"));
    rig.held[0] = NULL;
    assert_true(rig_wait(&held));
    assert_int_equal(held.status, 200);
    assert_string_equal(held.body, "late");
    outcome_free(&held);
}

/* --- client certificates: the second listener asks for them --- */

static void ask_for_client_certificates(void)
{
    struct lh_listener_options o = {.client_ca_pem = lh_str(rig.ca.cert_pem)};

    assert_non_null(rig_listen(&o, rig.base));
}

static void our_client_certificate_is_shown(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    ask_for_client_certificates();
    o.client_cert_pem = lh_str(client_cert.cert_pem);
    o.client_key_pem = client_cert.key_pem;
    http = rig_client(&o);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
}

static void without_one_the_server_refuses(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    ask_for_client_certificates();
    http = rig_client(&o);
    get(http, "/echo");
    refused("refused our client certificate");
}

static void one_of_another_ca_is_refused(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    ask_for_client_certificates();
    o.client_cert_pem = lh_str(stranger.cert_pem);
    o.client_key_pem = stranger.key_pem;
    http = rig_client(&o);
    get(http, "/echo");
    refused("refused our client certificate");
}

static void a_key_of_another_certificate_is_refused_at_once(void **state)
{
    struct lh_http_options o = rig_options();
    struct lh_err err = {0};

    (void)state;
    o.client_cert_pem = lh_str(client_cert.cert_pem);
    o.client_key_pem = stranger.key_pem;
    assert_int_equal(lh_http_new(rig.loop, &o, &http, &err), -LH_E_INVALID);
    assert_string_equal(err.reason, "CertificateInvalid");
}

static void put_pair(const struct lh_cert_pair *cert, const struct lh_cert_pair *key)
{
    assert_int_equal(lh_test_write(dir.fd, "tls.crt", cert->cert_pem), 0);
    assert_int_equal(lh_test_write(dir.fd, "tls.key", lh_secret_expose_const(key->key_pem)), 0);
}

static void client_certificate_files_are_read_again(void **state)
{
    struct lh_http_options o = rig_options();
    char cert[300], key[300];

    (void)state;
    ask_for_client_certificates();
    snprintf(cert, sizeof(cert), "%s/tls.crt", dir.path);
    snprintf(key, sizeof(key), "%s/tls.key", dir.path);
    o.client_cert_file = cert;
    o.client_key_file = key;
    put_pair(&client_cert, &client_cert);
    http = rig_client(&o);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
    /* Half of a rotation: the new certificate with the old key is no pair, the old pair serves. */
    put_pair(&stranger, &client_cert);
    get(http, "/echo");
    assert_int_equal(out.status, 200);
    put_pair(&stranger, &stranger);
    rig.requests = 0;
    get(http, "/echo");
    refused("refused our client certificate");
}

/* --- addresses --- */

static struct policy {
    const char *name;
    bool allow_loopback;
    const char *list[2];
    bool allowed;
} policies[] = {
    {"loopback is refused", false, {NULL}, false},
    {"loopback is allowed", true, {NULL}, true},
    {"a listed network is allowed", false, {"127.0.0.0/8"}, true},
    {"another network is not", false, {"10.0.0.0/8"}, false},
};

static void addresses_are_checked_when_connecting(void **state)
{
    const struct policy *p = *state;
    struct lh_http_options o = rig_options();

    o.allow_loopback = p->allow_loopback;
    o.allow_addresses = p->list[0] ? p->list : NULL;
    http = rig_client(&o);
    get(http, "/echo");
    if (p->allowed) {
        assert_int_equal(out.status, 200);
        return;
    }
    assert_int_equal(out.code, LH_E_DENIED);
    assert_string_equal(out.reason, "AddressNotAllowed");
    assert_false(out.sent);
    assert_non_null(strstr(out.text, "127.0.0.1 is a loopback address"));
}

/* The name says nothing; what it resolves to does. */
static void a_name_that_resolves_to_loopback_is_refused(void **state)
{
    struct lh_http_options o = rig_options();
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url};

    (void)state;
    o.allow_loopback = false;
    http = rig_client(&o);
    snprintf(url, sizeof(url), "https://localhost%s/echo", strrchr(rig.base, ':'));
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_DENIED);
    assert_string_equal(out.reason, "AddressNotAllowed");
}

static void an_allowed_address_that_is_none_is_refused(void **state)
{
    static const char *const list[] = {"10.0.0.0/99", NULL};
    struct lh_http_options o = rig_options();

    (void)state;
    o.allow_addresses = list;
    assert_int_equal(lh_http_new(rig.loop, &o, &http, NULL), -LH_E_INVALID);
}

/* --- a hostile environment --- */

static void proxies_and_key_logs_of_the_environment_change_nothing(void **state)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"};
    struct lh_http_options o = rig_options();
    struct stat st;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++)
        setenv(names[i], "http://127.0.0.1:1", 1);
    http = rig_client(&o);
    get(http, "/echo");
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    assert_int_equal(out.status, 200);
    /* curl opens it at its start, if it was built so; no key may get there. */
    assert_true(stat(key_log, &st) < 0 || st.st_size == 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static struct CMUnitTest tests[32] = {
        T(a_foreign_ca_is_refused),
        T(a_wrong_name_is_refused),
        T(without_a_name_the_address_is_checked),
        T(without_a_ca_nothing_is_trusted),
        T(the_host_header_stays),
        T(a_bundle_that_is_no_pem_is_refused_at_once),
        T(a_missing_ca_file_is_an_error_until_it_is_there),
        T(a_rotated_ca_file_takes_effect),
        T(a_broken_or_missing_ca_file_keeps_the_last_good),
        T(a_rotation_leaves_requests_alone),
        T(our_client_certificate_is_shown),
        T(without_one_the_server_refuses),
        T(one_of_another_ca_is_refused),
        T(a_key_of_another_certificate_is_refused_at_once),
        T(client_certificate_files_are_read_again),
        T(a_name_that_resolves_to_loopback_is_refused),
        T(an_allowed_address_that_is_none_is_refused),
        T(proxies_and_key_logs_of_the_environment_change_nothing),
    };
    size_t n = 18;

    for (size_t i = 0; i < LH_ARRAY_LEN(policies); i++)
        tests[n++] = (struct CMUnitTest){policies[i].name, addresses_are_checked_when_connecting,
                                         setup, teardown, &policies[i]};
    return _cmocka_run_group_tests("http tls", tests, n, group_setup, group_teardown);
}
