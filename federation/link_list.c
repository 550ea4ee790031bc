/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_list.h"

#include "base/mem.h"

#include <string.h>

size_t link_list_count(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

char **link_list_dup(char *const *list)
{
	size_t n = link_list_count(list);
	char **copy = mem_array(char *, n + 1);

	for (size_t i = 0; i < n; i++)
		copy[i] = str_dup(list[i]);
	return copy;
}

void link_list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

bool link_list_has(char *const *list, const char *text)
{
	for (size_t i = 0; list[i]; i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

bool link_list_eq(char *const *a, char *const *b)
{
	size_t n = link_list_count(a);

	if (link_list_count(b) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}
