/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/adapter.h"

static const struct adapter *const adapters[] = {
	&adapter_activedirectory,
	&adapter_ldif,
	&adapter_openldap,
};

const struct adapter *adapter_find(const char *kind)
{
	for (size_t i = 0; i < countof(adapters); i++)
		if (strcmp(adapters[i]->kind, kind) == 0)
			return adapters[i];
	return NULL;
}
