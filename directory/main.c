/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/mem.h"
#include "directory/daemon.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: hedgerow-directory [-c FILE] [--check]\n"
	"\n"
	"  -c, --config FILE  the configuration (" SYSCONFDIR "/hedgerow/directory.ini)\n"
	"      --check        read and check the configuration, then end\n"
	"      --help, --version\n";

enum { CHECK = 256, HELP, SHOW_VERSION };

static const struct option flags[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, CHECK },
	{ "help", no_argument, NULL, HELP },
	{ "version", no_argument, NULL, SHOW_VERSION },
	{ 0 },
};

static enum hr_status start(const char *path, bool check_only, struct directory_options *options,
			    struct hr_err *err)
{
	enum log_level level;

	if (options_read(path, directory_option_table, directory_option_count, options, err) !=
	    HR_OK)
		return err->status;
	if (log_level_parse(options->log_level, &level, err) != HR_OK)
		return err_add(err, "%s: [directory] log_level", path);
	log_open(level);
	if (directory_check(options, err) != HR_OK)
		return err_add(err, "%s", path);
	return check_only ? HR_OK : directory_run(options, err);
}

int main(int argc, char **argv)
{
	const char *path = SYSCONFDIR "/hedgerow/directory.ini";
	struct directory_options options = { 0 };
	bool check_only = false;
	struct hr_err err;

	for (int flag; (flag = getopt_long(argc, argv, "c:", flags, NULL)) != -1;) {
		switch (flag) {
		case 'c':
			path = optarg;
			break;
		case CHECK:
			check_only = true;
			break;
		case HELP:
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case SHOW_VERSION:
			puts("hedgerow-directory " PACKAGE_VERSION);
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

	options_free(directory_option_table, directory_option_count, &options);
	if (status == HR_OK)
		return EXIT_SUCCESS;
	fprintf(stderr, "hedgerow-directory: %s\n", err.text);
	return EXIT_FAILURE;
}
