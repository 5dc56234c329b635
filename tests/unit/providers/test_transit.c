/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/core/mem.h"
#include "transit_key.h"

#define HEAD "{\"data\":{\"type\":\"aes256-gcm96\",\"supports_encryption\":true,"

static struct row {
    const char *name;
    const char *json;
    int want;
} rows[] = {
    {"reads versions in order of their numbers",
     HEAD "\"supports_decryption\":true,\"latest_version\":10,\"min_decryption_version\":2,"
          "\"keys\":{\"10\":1795538090,\"2\":1795538083}}}",
     0},
    {"takes times as texts",
     HEAD "\"latest_version\":1,\"keys\":{\"1\":{\"creation_time\":"
          "\"2026-11-24T16:34:43.5Z\"}}}}",
     0},
    {"no versions", HEAD "\"latest_version\":1,\"keys\":{}}}", LH_E_UNAVAILABLE},
    {"versions that are no numbers", HEAD "\"latest_version\":1,\"keys\":{\"x\":1}}}",
     LH_E_UNAVAILABLE},
    {"version 0", HEAD "\"latest_version\":1,\"keys\":{\"0\":1}}}", LH_E_UNAVAILABLE},
    {"no times", HEAD "\"latest_version\":1,\"keys\":{\"1\":null}}}", LH_E_UNAVAILABLE},
    {"no latest version", HEAD "\"keys\":{\"1\":5}}}", LH_E_UNAVAILABLE},
    {"no key at all", "{\"data\":{\"x\":1}}", LH_E_UNAVAILABLE},
};

static void reads(void **state)
{
    const struct row *r = *state;
    lh_auto_json lh_json *json = NULL;
    lh_auto_free struct lh_transit_version *versions = NULL;
    struct lh_transit_key key = {0};

    assert_int_equal(lh_json_parse(lh_str(r->json), NULL, &json, NULL), 0);
    assert_int_equal(lh_transit_key_read(json, &key, &versions, NULL), -r->want);
    if (r->want) {
        assert_null(key.type);
        assert_null(versions);
        return;
    }
    assert_true(key.aead);
    assert_int_equal(key.versions[key.n_versions - 1].version, key.latest);
    for (size_t i = 1; i < key.n_versions; i++)
        assert_true(key.versions[i - 1].version < key.versions[i].version);
    assert_in_range(key.versions[0].created_s, 1795538083, 1795538090);
}

static struct version_row {
    const char *name, *text;
    int64_t want;
} version_rows[] = {
    {"OpenBao's own", "vault:v12:YWJj", 12},
    {"another prefix", "bao:v1:a", 1},
    {"no version", "vault:1:a", 0},
    {"version 0", "vault:v0:a", 0},
    {"a sign", "vault:v+1:a", 0},
    {"too large", "vault:v99999999999999999999:a", 0},
    {"no body", "vault:v1:", 0},
    {"cut short", "vault:v1", 0},
    {"nothing", "", 0},
};

static void version_of(void **state)
{
    const struct version_row *r = *state;

    assert_int_equal(lh_transit_version_of(lh_str(r->text)), r->want);
}

int main(void)
{
    lh_json_init();
    ROWS(reads, rows);
    ROWS(version_of, version_rows);
    return rows_run("transit");
}
