/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step a call; where a rotation stands is in the file: second, first, alone. A step that could
 * make data unreadable is taken only with its proof: before the new key writes, every API server
 * reads it; before the old one goes, no API server writes with it and no stored object needs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define SAID_MAX ((size_t)1 << 20)
#define TEXT_MAX ((size_t)2 * LH_ATREST_CONFIG_MAX_BYTES)

enum step { STEP_ADD, STEP_PROMOTE, STEP_REMOVE };
static const char *const steps[] = {
    [STEP_ADD] = "added",
    [STEP_PROMOTE] = "promoted",
    [STEP_REMOVE] = "removed",
};

struct rotation {
    const struct enc_options *o;
    struct lh_vec paths;  /* char * */
    struct lh_vec behind; /* const char *: of paths, one step behind the first */
    struct enc_file file; /* the first; all are equal */
    struct lh_atrest_ref from, to;
    enum step step;
    bool drop; /* one that is no part of a rotation */
};

/* Whether first is one step ahead of other: what a run leaves that ended between two files. */
static bool is_ahead(const struct enc_file *first, const struct enc_file *other)
{
    static const struct {
        bool of_first;
        enum enc_change mine, theirs;
    } ways[] = {
        {true, ENC_UNADDED, ENC_AS_IT_IS},
        {false, ENC_AS_IT_IS, ENC_PROMOTED},
        {false, ENC_AS_IT_IS, ENC_REMOVED},
    };
    bool ahead = false;

    for (size_t i = 0; !ahead && i < LH_ARRAY_LEN(ways); i++) {
        lh_auto_buf struct lh_buf mine, theirs;

        lh_buf_init(&mine, TEXT_MAX);
        lh_buf_init(&theirs, TEXT_MAX);
        ahead =
            enc_changed((struct lh_str){first->text, first->n}, ways[i].mine, &mine, NULL) == 0 &&
            enc_changed((struct lh_str){other->text, other->n}, ways[i].theirs, &theirs, NULL) ==
                0 &&
            lh_str_eq(lh_buf_peek(&mine), lh_buf_peek(&theirs));
    }
    return ahead;
}

/* Each file of a run that was interrupted gets what the first one has: the proofs of that step
 * were there before the first was written. */
static int read_other(struct rotation *r, const char *path, struct lh_err *err)
{
    struct enc_file other = {0};
    int rc = enc_file_read(path, &other, err);

    if (rc < 0)
        return rc;
    if (other.n != r->file.n || memcmp(other.text, r->file.text, other.n) != 0) {
        if (is_ahead(&r->file, &other))
            rc = lh_vec_push(&r->behind, &path) ? 0 : lh_err_nomem(err);
        else
            rc = lh_err_set(err, LH_E_CONFLICT, "%s and %s differ: make them equal first", path,
                            r->file.path);
    }
    /* The youngest file is what a start has to be younger than. */
    if (other.st.st_ctim.tv_sec >= r->file.st.st_ctim.tv_sec)
        r->file.st.st_ctim = other.st.st_ctim;
    enc_file_done(&other);
    return rc;
}

static int read_files(struct rotation *r, struct lh_err *err)
{
    int rc = enc_file_read(*(char **)lh_vec_at(&r->paths, 0), &r->file, err);

    for (size_t i = 1; rc == 0 && i < r->paths.n; i++)
        rc = read_other(r, *(char **)lh_vec_at(&r->paths, i), err);
    if (rc == 0 && lh_atrest_findings_refused(&r->file.findings))
        rc = lh_err_set(err, LH_E_INVALID,
                        "%s: an API server refuses it; see `leasehold "
                        "encryption check`",
                        r->file.path);
    return rc;
}

static int catch_up(struct rotation *r, struct lh_buf *said, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < r->behind.n; i++) {
        const char *path = *(const char **)lh_vec_at(&r->behind, i);

        rc = enc_file_put(path, (struct lh_str){r->file.text, r->file.n}, err);
        if (rc == 0 && !r->o->json)
            lh_buf_printf(said, "%s is now what %s is: an earlier run had been interrupted.\n",
                          path, r->file.path);
    }
    if (rc == 0 && r->o->json)
        lh_buf_printf(said, "{\"step\": \"completed\", \"taken\": true, \"files\": %zu}\n",
                      r->behind.n);
    return rc;
}

/* key1 -> key2; a name without a number gets one. */
static void next_name(const struct lh_atrest_config *c, const struct lh_atrest_ref *from,
                      struct lh_atrest_ref *out)
{
    size_t stem = strlen(from->name);
    long number;

    while (stem > 0 && from->name[stem - 1] >= '0' && from->name[stem - 1] <= '9')
        stem--;
    number = strlen(from->name + stem) < 9 ? strtol(from->name + stem, NULL, 10) : 0;
    *out = *from;
    for (bool taken = true; taken;) {
        snprintf(out->name, sizeof(out->name), "%.*s%ld", (int)(stem < 240 ? stem : 240),
                 from->name, ++number);
        taken = false;
        for (size_t i = 0; i < c->rules.n; i++)
            taken |= lh_atrest_rule_has(lh_vec_at(&c->rules, i), out);
    }
}

static int plan_new(struct rotation *r, struct lh_err *err)
{
    int rc;

    r->step = STEP_ADD;
    if (!lh_atrest_rule_writer(lh_vec_at(&r->file.config.rules, 0), &r->from))
        return lh_err_set(err, LH_E_INVALID, "%s: the first rule has no provider", r->file.path);
    if (r->o->to) {
        rc = lh_atrest_ref_parse(r->o->to, &r->to, err);
        return rc < 0 ? lh_err_wrap(err, rc, "--to") : 0;
    }
    if (lh_atrest_scheme_protection(r->from.scheme) != LH_ATREST_LOCAL)
        return lh_err_set(err, LH_E_INVALID, "--to names the new key");
    next_name(&r->file.config, &r->from, &r->to);
    return 0;
}

/* The step is read from the file: whether the new key writes already. */
static int plan(struct rotation *r, struct lh_err *err)
{
    const struct lh_atrest_rotation *now = &r->file.config.rotation;
    struct lh_atrest_ref writer;
    bool writes = true, pending = false;
    int rc;

    if (r->o->drop) {
        r->drop = true;
        r->step = STEP_REMOVE;
        rc = lh_atrest_ref_parse(r->o->drop, &r->from, err);
        return rc < 0 ? lh_err_wrap(err, rc, "--drop") : 0;
    }
    if (!now->to[0])
        return plan_new(r, err);
    rc = lh_atrest_ref_parse(now->from, &r->from, err);
    if (rc == 0)
        rc = lh_atrest_ref_parse(now->to, &r->to, err);
    if (rc < 0)
        return rc;
    if (r->o->to && strcmp(r->o->to, now->to) != 0)
        return lh_err_set(err, LH_E_CONFLICT, "a change from %s to %s is under way: end it first",
                          now->from, now->to);
    for (size_t i = 0; i < r->file.config.rules.n; i++) {
        const struct lh_atrest_rule *rule = lh_vec_at(&r->file.config.rules, i);

        if (!lh_atrest_rule_has(rule, &r->to) || !lh_atrest_rule_writer(rule, &writer))
            continue;
        pending = true;
        writes &= lh_atrest_ref_equal(&writer, &r->to);
    }
    if (!pending)
        return lh_err_set(err, LH_E_CONFLICT, "%s tells of a change to %s, which it does not have",
                          r->file.path, now->to);
    r->step = writes ? STEP_REMOVE : STEP_PROMOTE;
    return 0;
}

static int change(struct rotation *r, struct lh_err *err)
{
    struct lh_atrest_config *c = &r->file.config;
    struct lh_atrest_key key = {.name = NULL};
    int rc;

    if (r->step == STEP_PROMOTE)
        return lh_atrest_config_promote(c, &r->to, err);
    if (r->step == STEP_REMOVE) {
        rc = lh_atrest_config_remove(c, &r->from, err);
        if (rc == 0 && !r->drop)
            c->rotation = (struct lh_atrest_rotation){.from = ""};
        return rc;
    }
    rc = lh_atrest_key_new(r->to.name, &key, err);
    if (rc == 0)
        rc = lh_atrest_config_add(
            c, &r->from, &r->to,
            lh_atrest_scheme_protection(r->to.scheme) == LH_ATREST_LOCAL ? key.secret : NULL,
            r->o->endpoint, err);
    lh_atrest_key_done(&key);
    lh_atrest_ref_print(&r->from, c->rotation.from);
    lh_atrest_ref_print(&r->to, c->rotation.to);
    return rc;
}

/* What we would write has to be what an API server starts with. */
static int is_accepted(struct lh_str text, struct lh_err *err)
{
    struct lh_atrest_config c;
    struct lh_vec findings;
    int rc;

    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    rc = lh_atrest_config_read(text, "the changed file", &c, &findings, err);
    if (rc == 0) {
        rc = lh_atrest_config_lint(&c, NULL, &findings, err);
        lh_atrest_config_done(&c);
    }
    if (rc == 0 && lh_atrest_findings_refused(&findings))
        rc = lh_err_set(err, LH_E_INVALID, "an API server would refuse the changed file: %s",
                        ((struct lh_atrest_finding *)lh_vec_at(&findings, 0))->text);
    lh_atrest_findings_done(&findings);
    return rc;
}

/* The first one first: after a crash in between the next run tells from it where the others go. */
static int write_files(struct rotation *r, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    lh_atrest_config_write(&r->file.config, &b);
    rc = lh_buf_check(&b, err);
    if (rc == 0)
        rc = is_accepted(lh_buf_peek(&b), err);
    for (size_t i = 0; rc == 0 && i < r->paths.n; i++)
        rc = enc_file_put(*(char **)lh_vec_at(&r->paths, i), lh_buf_peek(&b), err);
    return rc;
}

static void say(const struct rotation *r, bool taken, const char *why, struct lh_buf *b)
{
    char from[320], to[320];

    lh_atrest_ref_print(&r->from, from);
    lh_atrest_ref_print(&r->to, to);
    if (r->o->json) {
        lh_buf_printf(b, "{\"step\": \"%s\", \"taken\": %s, \"from\": ", steps[r->step],
                      taken ? "true" : "false");
        lh_json_write_str(lh_str(from), b);
        lh_buf_put_z(b, ", \"to\": ");
        lh_json_write_str(lh_str(r->drop ? "" : to), b);
        lh_buf_put_z(b, ", \"missing\": ");
        lh_json_write_str(lh_str(why ? why : ""), b);
        lh_buf_put_z(b, "}\n");
        return;
    }
    if (!taken) {
        lh_buf_printf(b, "%s is not %s:\n%s", r->step == STEP_PROMOTE ? to : from, steps[r->step],
                      why);
        return;
    }
    if (r->step == STEP_ADD)
        lh_buf_printf(b,
                      "1 of 3: %s is added and reads. Once every API server has loaded the "
                      "file, rotate again: it will write.\n",
                      to);
    else if (r->step == STEP_PROMOTE)
        lh_buf_printf(b,
                      "2 of 3: %s writes. Once every API server has loaded the file: `leasehold "
                      "encryption rewrite`, then rotate again with --etcd: %s will go.\n",
                      to, from);
    else
        lh_buf_printf(b,
                      "%s%s is gone: no stored object needs it. Backups of etcd from before do: "
                      "keep the old file as long as you keep them.\n",
                      r->drop ? "" : "3 of 3: ", from);
}

/* *why (owned) when a proof is missing. */
static int prove_loaded(const struct rotation *r, char **why, struct lh_err *err)
{
    lh_auto_free char *who = NULL;
    int rc = enc_loaded(r->o, &r->file, &who, err);

    if (rc < 0 || !who)
        return rc;
    *why = lh_asprintf("not every API server has loaded %s:\n%s", r->file.path, who);
    return *why ? 0 : lh_err_nomem(err);
}

static int prove_unneeded(const struct rotation *r, char **why, struct lh_err *err)
{
    struct enc_scan s = {.config = &r->file.config, .need = &r->from};
    lh_auto_buf struct lh_buf b;
    int rc;

    if (!r->o->etcd) {
        *why =
            lh_strdup("only etcd's own bytes prove that nothing needs it: name it with --etcd\n");
        return *why ? 0 : lh_err_nomem(err);
    }
    lh_buf_init(&b, (size_t)256 * 1024);
    rc = enc_scan_run(r->o, &s, err);
    if (rc == 0 && !s.whole)
        lh_buf_printf(&b, "etcd holds no namespaces below %s: is --etcd-prefix right?\n",
                      r->o->etcd_prefix);
    else if (rc == 0 && s.needed + s.unreadable > 0) {
        lh_buf_printf(&b, "%zu stored objects need it, %zu cannot be told:\n", s.needed,
                      s.unreadable);
        for (size_t i = 0; i < s.samples.n; i++)
            lh_buf_printf(&b, "  %s\n", *(char **)lh_vec_at(&s.samples, i));
        if (s.needed + s.unreadable > s.samples.n)
            lh_buf_put_z(&b, "  ...\n");
        if (s.needed)
            lh_buf_put_z(&b, "`leasehold encryption rewrite` writes them with the newest key.\n");
    }
    enc_scan_done(&s);
    return rc < 0 || b.n == 0 ? rc : lh_buf_finish(&b, why, NULL, err);
}

static int prove(const struct rotation *r, char **why, struct lh_err *err)
{
    int rc = 0;

    if (r->step != STEP_ADD)
        rc = prove_loaded(r, why, err);
    if (rc == 0 && !*why && r->step == STEP_REMOVE)
        rc = prove_unneeded(r, why, err);
    return rc;
}

static int step(struct rotation *r, struct lh_buf *said, bool *taken, struct lh_err *err)
{
    lh_auto_free char *why = NULL;
    int rc = read_files(r, err);

    if (rc == 0 && r->behind.n > 0) {
        *taken = true;
        return catch_up(r, said, err);
    }
    if (rc == 0)
        rc = plan(r, err);
    if (rc == 0)
        rc = prove(r, &why, err);
    *taken = rc == 0 && !why;
    if (*taken)
        rc = change(r, err);
    if (rc == 0 && *taken)
        rc = write_files(r, err);
    if (rc == 0)
        say(r, *taken, why, said);
    return rc;
}

int enc_rotate(const struct enc_options *o)
{
    struct rotation r = {.o = o};
    lh_auto_buf struct lh_buf said;
    struct lh_err err = {0};
    bool taken = false;
    int rc = lh_crypto_init(&err);

    lh_buf_init(&said, SAID_MAX);
    lh_vec_init(&r.behind, sizeof(char *));
    if (rc == 0)
        rc = enc_split(o->file, &r.paths, &err);
    if (rc < 0)
        return enc_fail(&err);
    rc = step(&r, &said, &taken, &err);
    enc_file_done(&r.file);
    lh_vec_done(&r.behind);
    enc_list_done(&r.paths);
    if (rc < 0)
        return enc_fail(&err);
    if (cli_print(&said) != CLI_OK)
        return CLI_USAGE;
    return taken ? CLI_OK : CLI_FAILED;
}
