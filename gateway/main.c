/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "gateway/key_file.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: hedgerow-gateway [-c FILE] [--check]\n"
	"       hedgerow-gateway --generate-key FILE\n"
	"\n"
	"  -c, --config FILE        the configuration (" SYSCONFDIR "/hedgerow/gateway.ini)\n"
	"      --check              read and check the configuration, then end\n"
	"      --generate-key FILE  make a link key: the secret into FILE, the public key to\n"
	"                           standard output\n"
	"      --help, --version\n";

enum { FLAG_CHECK = 256, FLAG_GENERATE, FLAG_HELP, FLAG_VERSION };

static const struct option flags[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, FLAG_CHECK },
	{ "generate-key", required_argument, NULL, FLAG_GENERATE },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ "version", no_argument, NULL, FLAG_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int complain(const struct hr_err *err)
{
	fprintf(stderr, "hedgerow-gateway: %s\n", err->text);
	return EXIT_FAILURE;
}

static int generate(const char *path)
{
	scoped_str public_key = NULL;
	struct hr_err err;

	if (key_file_make(path, &public_key, &err) != HR_OK)
		return complain(&err);
	puts(public_key);
	return EXIT_SUCCESS;
}

static enum hr_status start(const char *path, bool check_only, struct gateway_options *options,
			    struct hr_err *err)
{
	enum log_level level;

	if (options_read(path, gateway_option_table, gateway_option_count, options, err) != HR_OK)
		return err->status;
	if (!options->secrets)
		options->secrets = str_dup(getenv("CREDENTIALS_DIRECTORY"));
	if (log_level_parse(options->log_level, &level, err) != HR_OK)
		return err_add(err, "%s: [gateway] log_level", path);
	log_open(level);
	if (gateway_options_check(options, err) != HR_OK)
		return err_add(err, "%s", path);
	return check_only ? HR_OK : gateway_run(options, err);
}

int main(int argc, char **argv)
{
	const char *path = SYSCONFDIR "/hedgerow/gateway.ini";
	struct gateway_options options = { 0 };
	bool check_only = false;
	struct hr_err err;

	for (int flag; (flag = getopt_long(argc, argv, "c:", flags, NULL)) != -1;) {
		switch (flag) {
		case 'c':
			path = optarg;
			break;
		case FLAG_CHECK:
			check_only = true;
			break;
		case FLAG_GENERATE:
			return generate(optarg);
		case FLAG_HELP:
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case FLAG_VERSION:
			puts("hedgerow-gateway " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return EXIT_FAILURE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_FAILURE;
	}
	enum hr_status status = start(path, check_only, &options, &err);

	options_free(gateway_option_table, gateway_option_count, &options);
	return status == HR_OK ? EXIT_SUCCESS : complain(&err);
}
