/* SPDX-License-Identifier: Apache-2.0 */
/* An object's metadata in its text: what the scanner finds in valid JSON is what the parser finds;
 * without managed fields it is the same object but for them; cut off anywhere it stays in bounds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "watch_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const lh_json *meta, const char *key, struct lh_str found)
{
    struct lh_str want = {NULL, 0};

    lh_json_str(lh_json_get(meta, key), &want);
    if (!lh_str_eq(want, found))
        abort();
}

static void check_plain(struct lh_str text, struct lh_str managed, const lh_json *doc, bool event)
{
    lh_auto_json lh_json *less = lh_json_deep_copy(doc), *plain = NULL;
    const lh_json *obj = event ? lh_json_get(less, "object") : less;
    lh_json *meta = lh_json_mut(lh_json_get(obj, "metadata"));
    struct lh_buf b;

    if ((lh_json_get(meta, "managedFields") != NULL) != (managed.n > 0))
        abort();
    if (managed.n == 0)
        return;
    lh_json_del(meta, "managedFields");
    lh_buf_init(&b, 1 << 20);
    watch_put_plain(&b, text, managed);
    if (lh_json_parse(lh_buf_peek(&b), NULL, &plain, NULL) < 0 || !lh_json_equal(plain, less))
        abort();
    lh_buf_done(&b);
}

static void check(struct lh_str text, bool event)
{
    lh_auto_json lh_json *doc = NULL;
    const lh_json *meta;
    struct watch_meta found;

    /* On the heap, so that a byte too far is seen. */
    for (size_t n = 0; n < text.n; n += 1 + n / 16) {
        lh_auto_free char *part = lh_memdup(text.p, n + 1);

        watch_meta_scan((struct lh_str){part, n}, event, &found);
    }
    watch_meta_scan(text, event, &found);
    /* Escapes are for texts, not for names and keys: there the scanner looks away. */
    if (memchr(text.p, '\\', text.n) || lh_json_parse(text, NULL, &doc, NULL) < 0)
        return;
    meta = lh_json_get(event ? lh_json_get(doc, "object") : doc, "metadata");
    check_string(meta, "name", found.name);
    check_string(meta, "namespace", found.namespace_);
    check_string(meta, "uid", found.uid);
    if (event)
        check_string(doc, "type", found.type);
    check_plain(text, found.managed_fields, doc, event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str text = {(const char *)data, size};

    if (size == 0 || size > 65536)
        return 0;
    check(text, false);
    check(text, true);
    return 0;
}
