/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of a fuzz target without a fuzzer: gives every file of the directories (or files)
 * named as arguments to LLVMFuzzerTestOneInput. Without arguments the program fuzz_NOUN takes
 * tests/fuzz/corpus/NOUN, which is what `make check` does.
 *
 * A new target is tests/fuzz/fuzz_NOUN.c, which defines only LLVMFuzzerTestOneInput, a directory
 * tests/fuzz/corpus/NOUN with at least one file, and in the Makefile.inc of the folder under test:
 *
 *	fuzz_programs += tests/fuzz/fuzz_noun
 *	tests_fuzz_fuzz_noun_SOURCES = tests/fuzz/fuzz_noun.c $(FUZZ_MAIN)
 *	tests_fuzz_fuzz_noun_LDADD = $(BASE_LIBS)
 *	tests_fuzz_fuzz_noun_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LINK)
 *	EXTRA_DIST += tests/fuzz/corpus/noun
 *
 * To fuzz: configure --enable-fuzzing --enable-sanitizers CC=clang, make, then
 * tests/fuzz/fuzz_noun CORPUS_DIRECTORY. An input that broke something goes into the corpus. */
#include "base/buf.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

enum { INPUT_MAX_BYTES = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static bool replay_file(const char *path)
{
	scoped_buf input = BUF_INIT(INPUT_MAX_BYTES);
	FILE *file = fopen(path, "rb");

	if (!file) {
		perror(path);
		return false;
	}
	for (char *room; !feof(file) && !ferror(file) && (room = buf_reserve(&input, 65536));)
		input.len += fread(room, 1, 65536, file);
	bool whole = feof(file) && !ferror(file);
	fclose(file);
	if (!whole) {
		fprintf(stderr, "%s: cannot be read to its end\n", path);
		return false;
	}
	/* a block of exactly that size, so that AddressSanitizer sees a byte read past it */
	uint8_t *exact = malloc(input.len ? input.len : 1);
	if (!exact)
		abort();
	if (input.len)
		memcpy(exact, input.data, input.len);
	LLVMFuzzerTestOneInput(exact, input.len);
	free(exact);
	replayed++;
	return true;
}

static bool replay(const char *path)
{
	struct stat info;

	if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode))
		return replay_file(path);
	DIR *dir = opendir(path);
	if (!dir) {
		perror(path);
		return false;
	}
	bool good = true;
	for (struct dirent *entry; (entry = readdir(dir));) {
		scoped_str inner = str_format("%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			good = replay(inner) && good;
	}
	closedir(dir);
	return good;
}

/* tests/fuzz/corpus/NOUN, for a program whose name ends in fuzz_NOUN. */
static char *own_corpus(const char *program)
{
	const char *top = getenv("top_srcdir");
	const char *name = strstr(program, "fuzz_");

	for (const char *next = name; next; next = strstr(next + 1, "fuzz_"))
		name = next;
	return name ? str_format("%s/tests/fuzz/corpus/%s", top ? top : ".", name + 5) : NULL;
}

int main(int argc, char **argv)
{
	scoped_str own = argc < 2 ? own_corpus(argv[0]) : NULL;
	bool good = argc < 2 ? own && replay(own) : true;

	for (int i = 1; i < argc; i++)
		good = replay(argv[i]) && good;
	printf("%zu inputs replayed\n", replayed);
	return good && replayed > 0 ? 0 : 1;
}
