/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of a secret manager: "HTTP/1.1 STATUS ...", an empty line, body. Properties: the quote is
 * short and printable, an error says nothing of the body but that quote, and results hold what
 * provider.h promises.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quote(const char *quote)
{
    assert(strlen(quote) <= LH_VAULT_QUOTE_MAX);
    for (; *quote; quote++)
        assert(*quote >= ' ' && *quote <= '~');
}

static void check_error(enum lh_vault_class c, const struct lh_vault_reply *r, const lh_json *json)
{
    const struct lh_vault_login_facts facts = {"jwt", "jwt", "role", "audience"};
    char quote[LH_VAULT_QUOTE_MAX + 1];
    struct lh_err err = {0};
    const char *said;

    lh_vault_quote(json, quote);
    check_quote(quote);
    assert(lh_vault_class_error(c, r, json, "read \"x\"", &err) < 0);
    assert(err.code && err.reason && err.msg[0]);
    said = strstr(err.msg, "it says: ");
    assert((said != NULL) == (quote[0] != '\0') || strstr(quote, "it says: "));
    assert(lh_vault_login_error(c, r, json, &facts, &err) < 0);
    assert(err.code != LH_E_EXPIRED);
}

static void check_results(const lh_json *json)
{
    struct lh_vault_texts texts = {0};
    struct lh_prov_read read = {0};
    struct lh_prov_token token = {0};
    struct lh_prov_life life = {0};
    struct lh_prov_version version = {0};
    struct lh_prov_health health = {0};
    struct lh_vault_mount_fact mount;
    struct lh_str text;

    for (int kv2 = 0; kv2 < 2; kv2++) {
        if (lh_vault_answer_read(json, kv2, &texts, &read, NULL) < 0)
            continue;
        assert(lh_json_type(read.data) == LH_JSON_OBJECT);
        assert((read.lease_id != NULL) == (read.kind == LH_KIND_LEASE));
        assert(read.lease_ms >= 0 && read.ttl_ms >= 0 && read.rotation_period_ms >= 0);
        assert(read.kind != LH_KIND_CERTIFICATE || read.not_after_wall_ms > 0);
    }
    if (lh_vault_answer_login(json, &token, &text, NULL) == 0)
        assert(lh_vault_token_ok(text) && token.ttl_ms >= 0);
    if (lh_vault_answer_lease_renewed(json, &life, NULL) == 0)
        assert(life.ttl_ms >= 0);
    if (lh_vault_answer_token_renewed(json, &life, NULL) == 0)
        assert(life.ttl_ms >= 0);
    if (lh_vault_answer_looked_up(json, true, &life, NULL) == 0)
        assert(life.ttl_ms >= 0 && life.creation_ttl_ms >= 0);
    if (lh_vault_answer_version(json, 0, &texts, &version, NULL) == 0)
        assert(version.version && version.version[0]);
    if (lh_vault_answer_health(200, json, &health, NULL) == 0)
        assert(!(health.active && (health.standby || health.sealed)));
    if (lh_vault_answer_mount(json, LH_STR("kv/app/s1"), &mount, NULL) == 0)
        assert(lh_str_starts(LH_STR("kv/app/s1"), mount.path) && (mount.kv || !mount.kv2));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_vault_reply r = {.status = 200, .body = {(const char *)data, size}};
    char head[16] = "";
    const char *blank = memmem(data, size, "\r\n\r\n", 4);
    enum lh_vault_class c;
    lh_json *json;

    lh_json_init();
    memcpy(head, data, size < sizeof(head) - 1 ? size : sizeof(head) - 1);
    if (blank && sscanf(head, "HTTP/1.1 %3d", &r.status) == 1)
        r.body = (struct lh_str){blank + 4, size - (size_t)(blank + 4 - (const char *)data)};
    c = lh_vault_classify(&r, &json);
    if (c == LH_VAULT_OK)
        check_results(json);
    else
        check_error(c, &r, json);
    lh_json_unref(json);
    return 0;
}
