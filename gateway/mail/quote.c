/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/quote.h"

#include "base/mem.h"
#include "gateway/mail/html.h"
#include "gateway/mail/quote_line.h"

enum {
	ATTRIBUTION_LINES_MAX = 4,
	ATTRIBUTION_LINE_MAX = 500,
	HEADER_LINES_MAX = 12, /* that the labels of one little header may span */
	CONTEXT_LINES_MAX = 3, /* of what is answered, before the answer */
	WRAPPED_MIN = 60,      /* a quoted line that long may have been folded without its > */
	FOLDED_MIN = 40	       /* a line is that long, or it would not have been folded */
};

struct line {
	struct slice text; /* without quotes before it and spaces after it */
	size_t quotes;
	enum quote_line kind;
};

struct reply {
	struct line *lines; /* owned */
	size_t count;
	size_t start;	/* of what is quoted; count: nothing is */
	size_t forward; /* the line that says what is passed on; count: none */
	bool has_ours;	/* what is quoted, or passed on, is a mail of ours */
	struct buf *out;
	size_t empty_lines; /* due before the next line */
};

static struct slice without_spaces(struct slice text)
{
	while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static struct line read_line(struct slice text)
{
	struct line line = { .text = text };
	size_t i = 0;

	for (size_t at = 0; at < text.len && (text.data[at] == '>' || text.data[at] == ' '); at++)
		if (text.data[at] == '>') {
			line.quotes++;
			i = at + 1;
		}
	if (line.quotes > 0 && i < text.len && text.data[i] == ' ')
		i++;
	line.text = (struct slice){ text.data + i, text.len - i };
	line.kind = quote_line_kind(line.text);
	line.text = without_spaces(line.text);
	return line;
}

static void read_lines(struct slice text, struct reply *reply)
{
	size_t count = 1;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == '\n';
	reply->lines = mem_array(struct line, count);
	while (text.len > 0) {
		const char *end = memchr(text.data, '\n', text.len);
		size_t len = end ? (size_t)(end - text.data) : text.len;
		reply->lines[reply->count++] = read_line((struct slice){ text.data, len });
		len += end != NULL;
		text = (struct slice){ text.data + len, text.len - len };
	}
}

/* The next line from `i` on that is not blank; count: none. */
static size_t next_line(const struct reply *reply, size_t i)
{
	while (i < reply->count && reply->lines[i].kind == QUOTE_LINE_BLANK)
		i++;
	return i;
}

/* A little header begins at `i`: From, and two of the other labels soon after. */
static bool is_header(const struct reply *reply, size_t i)
{
	bool seen[QUOTE_LABELS] = { false };

	if (i >= reply->count || quote_line_label(reply->lines[i].text) != QUOTE_LABEL_FROM)
		return false;
	for (size_t k = i + 1; k < reply->count && k < i + HEADER_LINES_MAX; k++)
		seen[quote_line_label(reply->lines[k].text)] = true;
	return seen[QUOTE_LABEL_DATE] + seen[QUOTE_LABEL_TO] + seen[QUOTE_LABEL_SUBJECT] >= 2;
}

static bool is_quoted(const struct line *line)
{
	return line->quotes > 0 || line->kind == QUOTE_LINE_OURS ||
	       line->kind == QUOTE_LINE_WRAPPER;
}

/* What the lines from..to are together. */
static enum quote_attribution attribution_of(const struct reply *reply, size_t from, size_t to)
{
	scoped_buf paragraph = BUF_INIT(0);

	for (size_t i = from; i <= to; i++) {
		if (i > from)
			buf_add_char(&paragraph, ' ');
		buf_add_slice(&paragraph, reply->lines[i].text);
	}
	return quote_line_attribution(buf_slice(&paragraph));
}

/* Whether from..to are an attribution, and no text of the author's is among them: a later line
 * begins none, or, where that can't be told, they are as long as lines that had to be folded. */
static bool is_attribution(const struct reply *reply, size_t from, size_t to)
{
	enum quote_attribution found = attribution_of(reply, from, to);
	size_t next = next_line(reply, to + 1);
	bool is_followed = next < reply->count && is_quoted(&reply->lines[next]);

	if (found == QUOTE_ATTRIBUTION_NO || (found == QUOTE_ATTRIBUTION_LIKELY && !is_followed))
		return false;
	for (size_t i = from; i < to; i++)
		if (found == QUOTE_ATTRIBUTION_SURE
			    ? attribution_of(reply, i + 1, to) == QUOTE_ATTRIBUTION_SURE
			    : reply->lines[i].text.len < FOLDED_MIN)
			return false;
	return true;
}

/* The lines from `i` on are "On Monday Ada wrote:"; how many, 0: they are not. */
static size_t attribution_lines(const struct reply *reply, size_t i)
{
	for (size_t k = i; k < reply->count && k < i + ATTRIBUTION_LINES_MAX; k++) {
		const struct line *line = &reply->lines[k];
		if (line->kind != QUOTE_LINE_TEXT || line->quotes != reply->lines[i].quotes ||
		    line->text.len > ATTRIBUTION_LINE_MAX)
			break;
		if (is_attribution(reply, i, k))
			return k + 1 - i;
	}
	return 0;
}

static bool begins_quote(const struct reply *reply, size_t i)
{
	switch (reply->lines[i].kind) {
	case QUOTE_LINE_OURS:
	case QUOTE_LINE_WRAPPER:
	case QUOTE_LINE_ORIGINAL:
		return true;
	case QUOTE_LINE_RULE:
		return is_header(reply, next_line(reply, i + 1));
	case QUOTE_LINE_TEXT:
		return reply->lines[i].quotes > 0 || is_header(reply, i) ||
		       attribution_lines(reply, i) > 0;
	case QUOTE_LINE_BLANK:
	case QUOTE_LINE_SIGNATURE:
	case QUOTE_LINE_FORWARD:
		return false;
	}
	abort();
}

static void find_start(struct reply *reply)
{
	size_t i = 0;

	reply->start = reply->forward = reply->count;
	while (i < reply->count && reply->start == reply->count && reply->forward == reply->count) {
		size_t next =
			reply->lines[i].kind == QUOTE_LINE_WRAPPER ? next_line(reply, i + 1) : i;
		if (next < reply->count && reply->lines[next].kind == QUOTE_LINE_FORWARD)
			reply->forward = next;
		else if (begins_quote(reply, i))
			reply->start = i;
		i++;
	}
	for (i = 0; i < reply->count; i++)
		reply->has_ours |= reply->lines[i].kind == QUOTE_LINE_OURS;
	if (reply->forward < reply->count && reply->has_ours)
		reply->start = reply->forward;
}

/* The end of what the author wrote in the lines from..to: a signature, or an advertisement. */
static size_t end_of_text(const struct reply *reply, size_t from, size_t to)
{
	size_t end = from;

	while (end < to &&
	       (reply->lines[end].kind != QUOTE_LINE_SIGNATURE || reply->lines[end].quotes > 0))
		end++;
	while (end > from && (reply->lines[end - 1].kind == QUOTE_LINE_BLANK ||
			      quote_line_is_advert(reply->lines[end - 1].text)))
		end--;
	return end;
}

static bool is_mark(const struct line *line)
{
	return slice_is(line->text, HTML_QUOTE_MARK) || slice_is(line->text, HTML_SIGNATURE_MARK);
}

static void put_line(struct reply *reply, const struct line *line)
{
	if (line->kind == QUOTE_LINE_BLANK && line->quotes == 0) {
		reply->empty_lines = 1;
		return;
	}
	if (is_mark(line))
		return;
	if (reply->out->len > 0 && reply->empty_lines > 0)
		buf_add_char(reply->out, '\n');
	reply->empty_lines = 0;
	for (size_t i = 0; i < line->quotes; i++)
		buf_add_str(reply->out, i + 1 < line->quotes ? ">" : "> ");
	buf_add_slice(reply->out, line->text);
	buf_add_char(reply->out, '\n');
}

static void put_lines(struct reply *reply, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		put_line(reply, &reply->lines[i]);
}

/* An answer between quoted lines, or below them. */
struct answer {
	size_t from, to; /* its lines */
	size_t context;	 /* the quoted lines before it that it answers begin here */
	bool is_last;	 /* nothing quoted follows */
};

/* A quoted line was folded, and its end lost the >. */
static bool is_remnant(const struct reply *reply, const struct answer *answer)
{
	return answer->to == answer->from + 1 && !answer->is_last &&
	       reply->lines[answer->from - 1].quotes > 0 &&
	       reply->lines[answer->from - 1].text.len >= WRAPPED_MIN &&
	       reply->lines[answer->to].quotes > 0;
}

/* The next answer from `at` on, which is behind a first quoted line. False: there is no more. */
static bool next_answer(const struct reply *reply, size_t at, struct answer *answer)
{
	size_t quoted = at;

	for (size_t i = at; i < reply->count; i++) {
		const struct line *line = &reply->lines[i];
		if (line->quotes > 0)
			quoted = i;
		if (line->quotes > 0 || line->kind == QUOTE_LINE_BLANK)
			continue;
		size_t end = i;
		while (end < reply->count && reply->lines[end].quotes == 0)
			end++;
		*answer = (struct answer){ .from = i, .is_last = end == reply->count };
		answer->to = end_of_text(reply, i, end);
		answer->context =
			quoted + 1 > CONTEXT_LINES_MAX ? quoted + 1 - CONTEXT_LINES_MAX : 0;
		while (answer->context < quoted && reply->lines[answer->context].quotes == 0)
			answer->context++;
		if (answer->to > i && !is_remnant(reply, answer) &&
		    attribution_lines(reply, i) == 0)
			return true;
		i = end - 1;
	}
	return false;
}

/* The first quoted line, if there is nothing but its announcement before it; count: there is none,
 * as where a client quotes without a > before each line. */
static size_t first_quoted(const struct reply *reply)
{
	size_t i = reply->start;

	while (i < reply->count && reply->lines[i].quotes == 0) {
		size_t attribution = attribution_lines(reply, i);
		if (attribution > 0)
			i += attribution;
		else if (reply->lines[i].kind != QUOTE_LINE_TEXT ||
			 quote_line_label(reply->lines[i].text) != QUOTE_LABEL_NONE)
			i++;
		else
			return reply->count;
	}
	return i;
}

/* Answers among what is quoted count when they are between it, or when there is no text above. */
static void put_answers(struct reply *reply, bool has_text)
{
	struct answer answer;
	size_t at = first_quoted(reply);
	bool is_between = false;

	while (next_answer(reply, at, &answer)) {
		is_between |= !answer.is_last;
		if (answer.is_last && !is_between && has_text)
			return;
		reply->empty_lines = 1;
		if (is_between) {
			size_t context = answer.context > at ? answer.context : at;
			for (size_t i = context; i < answer.from; i++)
				if (reply->lines[i].quotes > 0)
					put_line(reply, &reply->lines[i]);
			reply->empty_lines = 1;
		}
		put_lines(reply, answer.from, answer.to);
		at = answer.to;
	}
}

static bool is_left_out(const struct reply *reply, size_t from)
{
	for (size_t i = from; i < reply->count; i++)
		if (reply->lines[i].kind != QUOTE_LINE_BLANK && !is_mark(&reply->lines[i]))
			return true;
	return false;
}

static void reply_end(struct reply *reply)
{
	free(reply->lines);
}

bool quote_cut(struct slice text, struct buf *out)
{
	__attribute__((cleanup(reply_end))) struct reply reply = { .out = out };
	size_t before = out->len;

	read_lines(text, &reply);
	find_start(&reply);
	bool is_forward = reply.forward < reply.count && !reply.has_ours;
	size_t end = is_forward ? reply.count : end_of_text(&reply, 0, reply.start);
	put_lines(&reply, 0, end);
	if (!is_forward)
		put_answers(&reply, out->len > before);
	if (out->len == before && !reply.has_ours && reply.start < reply.count) {
		put_lines(&reply, 0, reply.count);
		return false;
	}
	return is_left_out(&reply, end);
}
