#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# with-registry.sh COMMAND [ARGUMENT...]
# Runs COMMAND with a private PostgreSQL (see with-postgres.sh) that holds the registry of a site
# called "here", with every migration applied.
top=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd)

if [ -z "${HEDGEROW_TEST_DATABASE:-}" ]; then
	exec "$top/tests/with-postgres.sh" "$0" "$@"
fi
"$top/ops/hedgerow" --database "$HEDGEROW_TEST_DATABASE" migrate >/dev/null || exit 1
psql -X -q -v ON_ERROR_STOP=1 -d "$HEDGEROW_TEST_DATABASE" \
	-c "INSERT INTO hedgerow.local_site (site) VALUES ('here')" >/dev/null || exit 1
exec "$@"
