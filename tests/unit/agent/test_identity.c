/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "identity.h"
#include "leasehold/api/reasons.h"

static struct lh_loop *loop;

static struct row {
    const char *name;
    const char *auth;    /* the store's auth block */
    const char *ca;      /* the store's trust */
    const char *fields;  /* more members of the configuration */
    const char *missing; /* NULL: good; else the field that the error names */
    bool cert, ca_file;
} rows[] = {
    {"jwt takes the projected token",
     "\"jwt\":{\"mount\":\"k8s\",\"role\":\"r\",\"audience\":\"vault\"}", "",
     "\"tokenFile\":\"/run/token\"", NULL, false, false},
    {"kubernetes takes the projected token",
     "\"kubernetes\":{\"mount\":\"k8s\",\"role\":\"r\",\"audience\":\"vault\"}", "",
     "\"tokenFile\":\"/run/token\"", NULL, false, false},
    {"jwt without a token is said",
     "\"jwt\":{\"mount\":\"k8s\",\"role\":\"r\",\"audience\":\"vault\"}", "",
     "\"credentialPath\":\"/c\"", "tokenFile", false, false},
    {"appRole takes its secret id from the mounted Secret",
     "\"appRole\":{\"mount\":\"a\",\"roleId\":\"r\",\"secretIdRef\":{\"name\":\"s\",\"key\":\"id\"}"
     "}",
     "", "\"credentialPath\":\"/c\"", NULL, false, false},
    {"appRole without one is said",
     "\"appRole\":{\"mount\":\"a\",\"roleId\":\"r\",\"secretIdRef\":{\"name\":\"s\",\"key\":\"id\"}"
     "}",
     "", "\"tokenFile\":\"/t\"", "credentialPath", false, false},
    {"token takes it from the mounted Secret",
     "\"token\":{\"secretRef\":{\"name\":\"s\",\"key\":\"t\"}}", "", "\"credentialPath\":\"/c\"",
     NULL, false, false},
    {"cert takes both files",
     "\"cert\":{\"mount\":\"cert\",\"role\":\"r\",\"secretRef\":{\"name\":\"s\"}}", "",
     "\"credentialPath\":\"/c\"", NULL, true, false},
    {"a CA of a ConfigMap is a file that is re-read",
     "\"token\":{\"secretRef\":{\"name\":\"s\",\"key\":\"t\"}}",
     ",\"caBundleRef\":{\"name\":\"ca\",\"key\":\"ca.pem\"}",
     "\"credentialPath\":\"/c\",\"caPath\":\"/ca\"", NULL, false, true},
    {"a CA of a ConfigMap that is not mounted is said",
     "\"token\":{\"secretRef\":{\"name\":\"s\",\"key\":\"t\"}}",
     ",\"caBundleRef\":{\"name\":\"ca\",\"key\":\"ca.pem\"}", "\"credentialPath\":\"/c\"", "caPath",
     false, false},
};

static struct lh_agentcfg *parse(const struct row *r)
{
    struct lh_agentcfg *cfg = NULL;
    struct lh_err err = {0};
    char text[2048];

    snprintf(
        text, sizeof(text),
        "{\"version\":1,\"mode\":\"sidecar\",\"namespace\":\"shop\",\"serviceAccount\":\"web\","
        "\"store\":{\"kind\":\"SecretStore\",\"name\":\"vault\",\"namespace\":\"shop\",\"spec\":"
        "{\"vault\":{\"addresses\":[\"https://v.example:8200\"],\"auth\":{%s}%s}}},"
        "\"projection\":{\"name\":\"p\",\"spec\":{\"items\":[{\"name\":\"a\",\"path\":\"secret/"
        "a\"}]}},\"mountPath\":\"/f\",\"defaultMode\":\"0440\",%s}",
        r->auth, r->ca, r->fields);
    if (lh_agentcfg_parse(lh_str(text), "test", &cfg, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    return cfg;
}

static void identity(void **state)
{
    const struct row *r = *state;
    struct lh_agentcfg *cfg = parse(r);
    struct agent_identity a;
    struct lh_err err = {0};
    int rc;

    assert_non_null(cfg);
    rc = agent_identity_init(&a, loop, cfg, false, &err);
    if (r->missing) {
        assert_int_equal(rc, -LH_E_INVALID);
        assert_non_null(strstr(err.msg, r->missing));
        assert_string_equal(err.reason, LH_REASON_ConfigInvalid);
    } else {
        assert_int_equal(rc, 0);
        assert_int_equal(a.id.credential == NULL, r->cert);
        assert_string_equal(a.id.subject.service_account, "web");
        if (r->cert)
            assert_string_equal(a.id.key_file, "/c/tls.key");
        if (r->ca_file)
            assert_string_equal(a.id.ca_file, "/ca/ca.pem");
        agent_identity_done(&a);
    }
    lh_agentcfg_free(cfg);
}

static int setup(void **state)
{
    struct lh_err err;

    (void)state;
    return lh_loop_new(&loop, &err);
}

static int teardown(void **state)
{
    (void)state;
    lh_loop_free(loop);
    return 0;
}

int main(void)
{
    struct CMUnitTest tests[sizeof(rows) / sizeof(rows[0])];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, identity, NULL, NULL, &rows[i]};
    return cmocka_run_group_tests(tests, setup, teardown);
}
