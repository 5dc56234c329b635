/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_FIXTURE_H
#define LH_TEST_FIXTURE_H

/* A scratch folder with a publisher, two sets of files, and what must be seen of them. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/mem.h"
#include "leasehold/project/publish.h"
#include "support.h"

#define FILE_OF(path_, mode_, text_)                                                               \
    {                                                                                              \
        (path_), (mode_),                                                                          \
        {                                                                                          \
            (text_), sizeof(text_) - 1                                                             \
        }                                                                                          \
    }

extern const struct lh_pub_file old_set[3], new_set[3];
#define OLD old_set, LH_ARRAY_LEN(old_set)
#define NEW new_set, LH_ARRAY_LEN(new_set)

extern struct lh_test_scratch dir;
extern struct lh_publisher *pub;

int setup(void **state);
int teardown(void **state);
/* Publishes, or fails the test; was there a swap? */
bool publish(const struct lh_pub_file *files, size_t n);
/* All files are there, by their names, whole. */
bool shows(const struct lh_pub_file *files, size_t n);
/* Nothing but ..data, one generation, and a link for each top-level name. */
bool is_tidy(const struct lh_pub_file *files, size_t n);

#endif
