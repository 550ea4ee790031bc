/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/options.h"

#include "base/log.h"
#include "base/secret.h"
#include "gateway/key_file.h"

#define OPTION(section_, key_, kind_, field, ...)                              \
	{                                                                      \
		.section = section_, .key = key_, .kind = kind_,               \
		.offset = offsetof(struct gateway_options, field), __VA_ARGS__ \
	}

const struct ini_option gateway_option_table[] = {
	OPTION("gateway", "node", OPTION_TEXT, node, .required = true),
	OPTION("gateway", "database", OPTION_TEXT, database, .required = true),
	OPTION("gateway", "secrets", OPTION_PATH, secrets),
	OPTION("gateway", "log_level", OPTION_TEXT, log_level, .value = "info"),
	OPTION("gateway", "drain", OPTION_DURATION, drain, .value = "10s", .high = 600000),
	OPTION("gateway", "patience", OPTION_DURATION, patience, .value = "10s", .low = 100,
	       .high = 600000),
	OPTION("link", "listen", OPTION_TEXT, listen),
	OPTION("link", "key", OPTION_TEXT, key, .value = "link.key"),
	OPTION("link", "heartbeat", OPTION_DURATION, heartbeat, .value = "5s", .low = 100,
	       .high = 10000),
	OPTION("link", "retry_max", OPTION_DURATION, retry_max, .value = "30s", .low = 100,
	       .high = 3600000),
	OPTION("mail", "listen", OPTION_TEXT, mail_listen),
	OPTION("mail", "size", OPTION_NUMBER, mail_size, .value = "35", .low = 1, .high = 1024),
	OPTION("mail", "memory", OPTION_NUMBER, mail_memory, .value = "256", .low = 1,
	       .high = 65536),
	OPTION("mail", "retry_min", OPTION_DURATION, mail_retry_min, .value = "1m", .low = 100,
	       .high = 86400000),
	OPTION("mail", "retry_max", OPTION_DURATION, mail_retry_max, .value = "1h", .low = 100,
	       .high = 86400000),
};
const size_t gateway_option_count = countof(gateway_option_table);

/* tcp://ADDRESS:PORT; NULL: it only dials. */
static enum hr_status check_endpoint(const char *endpoint, struct hr_err *err)
{
	static const char scheme[] = "tcp://";
	const char *colon = endpoint ? strrchr(endpoint, ':') : NULL;
	char *end = NULL;

	if (!endpoint)
		return HR_OK;
	if (strncmp(endpoint, scheme, strlen(scheme)) == 0 && colon > endpoint + strlen(scheme)) {
		long port = strtol(colon + 1, &end, 10);
		if (end != colon + 1 && *end == '\0' && port > 0 && port < 65536)
			return HR_OK;
	}
	return err_set(err, HR_FAIL,
		       "[link] listen = %s: write it as tcp://ADDRESS:PORT, for instance "
		       "tcp://0.0.0.0:7500",
		       endpoint);
}

enum hr_status gateway_options_check(const struct gateway_options *options, struct hr_err *err)
{
	scoped_secret key = NULL;
	enum log_level level;

	if (log_level_parse(options->log_level, &level, err) != HR_OK)
		return err_add(err, "[gateway] log_level");
	if (!options->secrets)
		return err_set(
			err, HR_FAIL,
			"[gateway] secrets is not set, and there is no $CREDENTIALS_DIRECTORY");
	if (check_endpoint(options->listen, err) != HR_OK)
		return err->status;
	if (options->mail_memory < options->mail_size)
		return err_set(err, HR_FAIL,
			       "[mail] memory = %lld: must have room for one mail of [mail] size = "
			       "%lld MiB",
			       (long long)options->mail_memory, (long long)options->mail_size);
	return key_file_read(options->secrets, options->key, &key, err);
}
