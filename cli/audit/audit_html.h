/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_HTML_H
#define LEASEHOLD_CLI_AUDIT_HTML_H

/* The HTML report. No script and nothing that is loaded: plots are boxes whose sizes the browser
 * takes from counts, so that they are as wide as there is room and their texts stay readable. */
#include "audit.h"

/* Text as content or as a quoted attribute. */
void audit_html_put(struct lh_buf *b, const char *text);
/* A sentence of ours as content: what stands in `backticks` is code. */
void audit_html_sentence(struct lh_buf *b, const char *text);

/* One part of a bar; its class is a colour. */
struct audit_html_part {
    const char *class, *title;
    uint64_t n;
};
/* Parts as wide as their counts; what of them is 0 is left out. of: what the bar is about. */
void audit_html_bar(struct lh_buf *b, const char *of, const struct audit_html_part *parts,
                    size_t n);
/* A row of a plot: its name, a bar, a count. */
void audit_html_row(struct lh_buf *b, const char *name, const struct audit_html_part *parts,
                    size_t n);
void audit_html_protections(const uint64_t counts[AUDIT_PROTECTIONS],
                            struct audit_html_part out[AUDIT_PROTECTIONS]);

/* audit_html_plots.c: sections. groups: struct audit_group *, as audit_groups() sorts them. */
void audit_html_secrets(const struct audit *a, struct lh_buf *b);
void audit_html_kinds(const struct lh_vec *groups, struct lh_buf *b);
void audit_html_namespaces(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b);
void audit_html_keys(const struct audit *a, const struct lh_vec *groups, struct lh_buf *b);
/* audit_html_tables.c */
void audit_html_workloads(const struct audit *a, struct lh_buf *b);
void audit_html_checks(const struct lh_vec *verdicts, struct lh_buf *b);
void audit_html_terms(struct lh_buf *b);

extern const char audit_html_style[];

#endif
