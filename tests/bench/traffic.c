/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/traffic.h"

#include "base/mem.h"

#include <stdio.h>

enum { RESOURCE_MIN = 4, ID_LEN = 36 };

static const char *const first_names[] = {
	"ada",	 "bob",	   "carol", "dan",    "eve",	"frank",  "grace",  "heidi",
	"ivan",	 "judy",   "karl",  "laura",  "mike",	"nina",	  "oscar",  "peggy",
	"quinn", "rupert", "sybil", "trent",  "ursula", "victor", "walter", "xenia",
	"yves",	 "zoe",	   "amir",  "birgit", "chen",	"dalia",  "emil",   "fatima",
};
static const char *const last_names[] = {
	"adams", "baker",   "clark",  "davis", "evans",	 "foster",  "green", "harris",
	"irwin", "jones",   "king",   "lewis", "moore",	 "nolan",   "owens", "parker",
	"reyes", "santos",  "taylor", "usman", "vargas", "walker",  "xu",    "young",
	"zhang", "almeida", "berg",   "costa", "dubois", "eriksen", "fuchs", "garcia",
};
/* The length is worked out by the compiler: the sender has better things to do. */
#define W(text)                        \
	{                              \
		text, sizeof(text) - 1 \
	}
static const struct slice words[] = {
	W("the"),	W("be"),	W("to"),       W("of"),	      W("and"),
	W("a"),		W("in"),	W("that"),     W("have"),     W("I"),
	W("it"),	W("for"),	W("not"),      W("on"),	      W("with"),
	W("he"),	W("as"),	W("you"),      W("do"),	      W("at"),
	W("this"),	W("but"),	W("his"),      W("by"),	      W("from"),
	W("they"),	W("we"),	W("say"),      W("her"),      W("she"),
	W("or"),	W("an"),	W("will"),     W("my"),	      W("one"),
	W("all"),	W("would"),	W("there"),    W("their"),    W("what"),
	W("so"),	W("up"),	W("out"),      W("if"),	      W("about"),
	W("who"),	W("get"),	W("which"),    W("go"),	      W("me"),
	W("when"),	W("make"),	W("can"),      W("like"),     W("time"),
	W("no"),	W("just"),	W("him"),      W("know"),     W("take"),
	W("people"),	W("into"),	W("year"),     W("your"),     W("good"),
	W("some"),	W("could"),	W("them"),     W("see"),      W("other"),
	W("than"),	W("then"),	W("now"),      W("look"),     W("only"),
	W("come"),	W("its"),	W("over"),     W("think"),    W("also"),
	W("back"),	W("after"),	W("use"),      W("two"),      W("how"),
	W("our"),	W("work"),	W("first"),    W("well"),     W("way"),
	W("even"),	W("new"),	W("want"),     W("because"),  W("any"),
	W("these"),	W("give"),	W("day"),      W("most"),     W("us"),
	W("meeting"),	W("report"),	W("customer"), W("invoice"),  W("tomorrow"),
	W("yesterday"), W("morning"),	W("lunch"),    W("call"),     W("thanks"),
	W("please"),	W("budget"),	W("quarter"),  W("deadline"), W("server"),
	W("update"),	W("review"),	W("contract"), W("office"),   W("Boston"),
	W("Sydney"),	W("Amsterdam"), W("train"),    W("flight"),   W("hotel"),
	W("ticket"),	W("delay"),	W("figures"),  W("draft"),    W("slides"),
	W("agenda"),	W("minutes"),	W("project"),  W("release"),  W("branch"),
	W("build"),	W("test"),	W("failed"),   W("passed"),   W("ready"),
	W("shipped"),	W("waiting"),	W("answer"),   W("question"), W("reason"),
	W("problem"),	W("fixed"),	W("again"),    W("later"),    W("today"),
	W("tonight"),	W("weekend"),	W("holiday"),  W("family"),   W("birthday"),
	W("coffee"),	W("table"),	W("window"),   W("garden"),   W("hedge"),
	W("winter"),	W("summer"),	W("rain"),     W("snow"),     W("sunny"),
	W("cold"),	W("warm"),	W("early"),    W("late"),     W("before"),
	W("between"),	W("without"),	W("against"),  W("during"),   W("under"),
	W("around"),	W("through"),	W("another"),  W("nothing"),  W("everything"),
	W("something"), W("somebody"),	W("maybe"),    W("perhaps"),  W("certainly"),
	W("sorry"),	W("great"),	W("perfect"),  W("agreed"),   W("exactly"),
	W("almost"),	W("really"),	W("still"),    W("already"),  W("never"),
	W("always"),	W("often"),	W("number"),   W("address"),  W("phone"),
	W("mobile"),	W("laptop"),	W("password"), W("account"),  W("access"),
	W("folder"),	W("document"),	W("version"),  W("change"),   W("order"),
	W("price"),	W("offer"),	W("delivery"), W("stock"),    W("warehouse"),
	W("factory"),	W("machine"),	W("engineer"), W("manager"),  W("colleague"),
	W("team"),	W("group"),	W("company"),  W("market"),   W("sales"),
	W("support"),	W("legal"),	W("finance"),  W("planning"), W("training"),
	W("interview"), W("candidate"), W("position"), W("salary"),   W("travel"),
	W("expense"),	W("receipt"),	W("payment"),  W("bank"),     W("transfer"),
	W("amount"),	W("total"),	W("percent"),  W("hundred"),  W("thousand"),
	W("million"),	W("half"),	W("second"),   W("third"),    W("next"),
	W("last"),	W("week"),	W("month"),    W("hour"),     W("Monday"),
	W("Tuesday"),	W("Wednesday"), W("Thursday"), W("Friday"),   W("January"),
	W("March"),	W("April"),	W("June"),     W("July"),     W("August"),
	W("October"),	W("December"),	W("send"),     W("sent"),     W("read"),
	W("write"),	W("wrote"),	W("speak"),    W("spoke"),    W("told"),
	W("hear"),	W("heard"),	W("find"),     W("found"),    W("lost"),
	W("kept"),	W("left"),	W("right"),    W("open"),     W("closed"),
	W("start"),	W("stopped"),	W("finish"),   W("move"),     W("moved"),
	W("bring"),	W("brought"),	W("buy"),      W("bought"),   W("pay"),
	W("paid"),
};

/* One conversation: the addresses as sent by A and as B must see them. */
struct pair {
	struct slice sent_from, sent_to, seen_from, seen_to; /* owned */
};

struct traffic {
	struct pair *pairs;
	size_t count;
};

static const char tag_from[] = "<message from='";
static const char tag_to[] = "' to='";
static const char tag_id[] = "' id='";
static const char tag_body[] = "' type='chat'><body>";
static const char tag_end[] = "</body><request xmlns='urn:xmpp:receipts'/>"
			      "<markable xmlns='urn:xmpp:chat-markers:0'/></message>";

enum {
	FRAME = sizeof(tag_from) + sizeof(tag_to) + sizeof(tag_id) + sizeof(tag_body) +
		sizeof(tag_end) - 5
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

struct traffic_person traffic_person(size_t index)
{
	const char *first = first_names[index % countof(first_names)];
	const char *last = last_names[index / countof(first_names) % countof(last_names)];
	size_t twin = index / (countof(first_names) * countof(last_names));
	struct traffic_person person = { .at_b = index % 2 };

	if (twin == 0)
		snprintf(person.address, sizeof(person.address), "%s.%s", first, last);
	else
		snprintf(person.address, sizeof(person.address), "%s.%s%zu", first, last, twin);
	snprintf(person.native, sizeof(person.native), "x%06zu", index);
	snprintf(person.name, sizeof(person.name), "%c%s %c%s", first[0] & ~32, first + 1,
		 last[0] & ~32, last + 1);
	return person;
}

static struct slice address(const char *local, const char *domain, const char *resource)
{
	return slice_str(resource ? str_format("%s@%s/%s", local, domain, resource)
				  : str_format("%s@%s", local, domain));
}

static enum hr_status make_pair(struct pair *pair, const struct traffic_options *options,
				size_t index, struct hr_err *err)
{
	struct traffic_person a = traffic_person(2 * index), b = traffic_person(2 * index + 1);
	const char *shared = options->federated;
	const char *to = shared ? b.address : b.native;
	const char *to_domain = shared ? shared : options->native_b;
	char resource[] = "Phone.k7Qz2mXw9RtB4nLcY8sHvD3";
	size_t taken = FRAME + ID_LEN + TRAFFIC_BODY + strlen(a.native) +
		       strlen(options->native_a) + strlen(to) + strlen(to_domain) + sizeof("@/@") -
		       1;

	if (taken + RESOURCE_MIN > TRAFFIC_STANZA || taken + strlen(resource) < TRAFFIC_STANZA)
		return err_set(err, HR_FAIL, "%s to %s@%s does not fit %d bytes", a.native, to,
			       to_domain, TRAFFIC_STANZA);
	resource[TRAFFIC_STANZA - taken] = '\0';
	pair->sent_from = address(a.native, options->native_a, resource);
	pair->sent_to = address(to, to_domain, NULL);
	pair->seen_from = shared ? address(a.address, shared, resource)
				 : address(a.native, options->native_a, resource);
	pair->seen_to = address(b.native, options->native_b, NULL);
	return HR_OK;
}

enum hr_status traffic_new(const struct traffic_options *options, struct traffic **out,
			   struct hr_err *err)
{
	struct traffic *traffic = mem_new(struct traffic);

	traffic->count = options->pairs;
	traffic->pairs = mem_array(struct pair, options->pairs);
	for (size_t i = 0; i < options->pairs; i++) {
		if (make_pair(&traffic->pairs[i], options, i, err) != HR_OK) {
			traffic_free(traffic);
			return err->status;
		}
	}
	*out = traffic;
	return HR_OK;
}

void traffic_free(struct traffic *traffic)
{
	if (!traffic)
		return;
	for (size_t i = 0; i < traffic->count; i++) {
		free((char *)traffic->pairs[i].sent_from.data);
		free((char *)traffic->pairs[i].sent_to.data);
		free((char *)traffic->pairs[i].seen_from.data);
		free((char *)traffic->pairs[i].seen_to.data);
	}
	free(traffic->pairs);
	free(traffic);
}

static const struct pair *pair_of(const struct traffic *traffic, uint64_t number, size_t *index)
{
	*index = mix(number) % traffic->count;
	return &traffic->pairs[*index];
}

static char *add(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	return to + len;
}

static char *add_slice(char *to, struct slice text)
{
	return add(to, text.data, text.len);
}

static const char digits[] = "0123456789abcdef";

static char *write_id(char *to, uint64_t number, uint64_t due)
{
	/* A Feistel network of three rounds: no two ids are alike, none shows its number. */
	due ^= mix(number + 1);
	number ^= mix(due + 2);
	due ^= mix(number + 3);
	for (int i = 0; i < 32; i++) {
		uint64_t half = i < 16 ? number : due;

		if (i == 8 || i == 12 || i == 16 || i == 20)
			*to++ = '-';
		*to++ = digits[half >> (60 - 4 * (i % 16)) & 15];
	}
	return to;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum hr_status read_id(struct slice id, uint64_t *number, uint64_t *due, struct hr_err *err)
{
	uint64_t half[2] = { 0 };
	int have = 0;

	for (size_t i = 0; i < id.len; i++) {
		int value = digit(id.data[i]);

		if (value < 0 && id.data[i] == '-')
			continue;
		if (value < 0 || have == 32)
			return err_set(err, HR_FAIL, "not an id of ours");
		half[have / 16] = half[have / 16] << 4 | (uint64_t)value;
		have++;
	}
	if (have != 32)
		return err_set(err, HR_FAIL, "not an id of ours");
	half[1] ^= mix(half[0] + 3);
	half[0] ^= mix(half[1] + 2);
	half[1] ^= mix(half[0] + 1);
	*number = half[0];
	*due = half[1];
	return HR_OK;
}

static void write_body(char *to, uint64_t number)
{
	uint64_t seed = mix(~number);
	char *end = to + TRAFFIC_BODY - 1;
	char *start = to;

	while (to < end) {
		seed = mix(seed);
		struct slice word = words[seed % countof(words)];
		size_t room = (size_t)(end - to);

		to = add(to, word.data, word.len < room ? word.len : room);
		if (to < end)
			*to++ = ' ';
	}
	if (*start >= 'a')
		*start &= ~32;
	*end = ".?!."[seed >> 60 & 3];
}

size_t traffic_write(const struct traffic *traffic, uint64_t number, uint64_t due_ns, char *to)
{
	size_t index;
	const struct pair *pair = pair_of(traffic, number, &index);
	char *p = to;

	p = add(p, tag_from, sizeof(tag_from) - 1);
	p = add_slice(p, pair->sent_from);
	p = add(p, tag_to, sizeof(tag_to) - 1);
	p = add_slice(p, pair->sent_to);
	p = add(p, tag_id, sizeof(tag_id) - 1);
	p = write_id(p, number, due_ns);
	p = add(p, tag_body, sizeof(tag_body) - 1);
	write_body(p, number);
	p = add(p + TRAFFIC_BODY, tag_end, sizeof(tag_end) - 1);
	return (size_t)(p - to);
}

enum hr_status traffic_read(const struct traffic *traffic, struct slice id,
			    struct traffic_seen *out, struct hr_err *err)
{
	struct traffic_seen seen;

	if (read_id(id, &seen.number, &seen.due_ns, err) != HR_OK)
		return err->status;
	pair_of(traffic, seen.number, &seen.pair);
	*out = seen;
	return HR_OK;
}

enum hr_status traffic_check(const struct traffic *traffic, const struct traffic_seen *seen,
			     struct slice from, struct slice to, struct slice inner,
			     struct hr_err *err)
{
	const struct pair *pair = &traffic->pairs[seen->pair];
	char body[TRAFFIC_BODY + sizeof("<body></body>") - 1];

	if (!slice_eq(from, pair->seen_from))
		return err_set(err, HR_FAIL, "from " SLICE_FMT ", not " SLICE_FMT, SLICE_ARG(from),
			       SLICE_ARG(pair->seen_from));
	if (!slice_eq(to, pair->seen_to))
		return err_set(err, HR_FAIL, "to " SLICE_FMT ", not " SLICE_FMT, SLICE_ARG(to),
			       SLICE_ARG(pair->seen_to));
	write_body(add(body, "<body>", 6), seen->number);
	memcpy(body + 6 + TRAFFIC_BODY, "</body>", 7);
	if (!memmem(inner.data, inner.len, body, sizeof(body)))
		return err_set(err, HR_FAIL, "the body has changed: " SLICE_FMT, SLICE_ARG(inner));
	return HR_OK;
}
