/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of texts as link_peer has them, NULL-terminated; NULL is an empty list. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

size_t link_list_count(char *const *list);
char **link_list_dup(char *const *list); /* owned by the caller; never NULL */
void link_list_free(char **list);
bool link_list_has(char *const *list, const char *text);
bool link_list_eq(char *const *a, char *const *b);
