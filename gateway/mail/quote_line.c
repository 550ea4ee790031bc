/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/quote_line.h"

#include "base/mem.h"
#include "gateway/mail/compose.h"
#include "gateway/mail/html.h"

#include <strings.h>

enum { ADVERT_MAX = 120, ATTRIBUTION_MAX = 500, RULE_MIN = 10, OURS_MAX = 200 };

#define COLON_WIDE "\xef\xbc\x9a"
#define NBSP "\xc2\xa0"

static const char *const originals[] = {
	"original message",
	"original-nachricht",
	"originalnachricht",
	"ursprüngliche nachricht",
	"original appointment",
	"message d'origine",
	"message d’origine",
	"message original",
	"message initial",
	"mensaje original",
	"oorspronkelijk bericht",
	"origineel bericht",
	"messaggio originale",
	"mensagem original",
	"ursprungligt meddelande",
	"oprindelig meddelelse",
	"opprinnelig melding",
	"alkuperäinen viesti",
	"wiadomość oryginalna",
	"původní zpráva",
	"исходное сообщение",
	"orijinal ileti",
	"原始邮件",
	"原始郵件",
	"元のメッセージ",
	"原始訊息",
	"원본 메시지",
};

static const char *const forwards[] = {
	"forwarded message",
	"begin forwarded message",
	"weitergeleitete nachricht",
	"anfang der weitergeleiteten nachricht",
	"message transféré",
	"début du message transféré",
	"début du message réexpédié",
	"mensaje reenviado",
	"inicio del mensaje reenviado",
	"doorgestuurd bericht",
	"begin doorgestuurd bericht",
	"messaggio inoltrato",
	"inizio messaggio inoltrato",
	"mensagem encaminhada",
	"início da mensagem reencaminhada",
	"vidarebefordrat meddelande",
	"videresendt meddelelse",
	"przekazana wiadomość",
	"пересылаемое сообщение",
	"転送メッセージ",
	"转发的邮件",
	"轉寄郵件",
};

/* Each language's labels; a second one where its clients differ. */
static const struct {
	enum quote_label label;
	const char *word;
} labels[] = {
	{ QUOTE_LABEL_FROM, "From" },
	{ QUOTE_LABEL_FROM, "Von" },
	{ QUOTE_LABEL_FROM, "De" },
	{ QUOTE_LABEL_FROM, "Van" },
	{ QUOTE_LABEL_FROM, "Da" },
	{ QUOTE_LABEL_FROM, "Från" },
	{ QUOTE_LABEL_FROM, "Fra" },
	{ QUOTE_LABEL_FROM, "Lähettäjä" },
	{ QUOTE_LABEL_FROM, "Od" },
	{ QUOTE_LABEL_FROM, "От" },
	{ QUOTE_LABEL_FROM, "От кого" },
	{ QUOTE_LABEL_FROM, "Kimden" },
	{ QUOTE_LABEL_FROM, "差出人" },
	{ QUOTE_LABEL_FROM, "发件人" },
	{ QUOTE_LABEL_FROM, "寄件者" },
	{ QUOTE_LABEL_FROM, "보낸 사람" },
	{ QUOTE_LABEL_DATE, "Sent" },
	{ QUOTE_LABEL_DATE, "Date" },
	{ QUOTE_LABEL_DATE, "Gesendet" },
	{ QUOTE_LABEL_DATE, "Datum" },
	{ QUOTE_LABEL_DATE, "Envoyé" },
	{ QUOTE_LABEL_DATE, "Envoyé le" },
	{ QUOTE_LABEL_DATE, "Enviado" },
	{ QUOTE_LABEL_DATE, "Enviado el" },
	{ QUOTE_LABEL_DATE, "Enviada" },
	{ QUOTE_LABEL_DATE, "Enviada em" },
	{ QUOTE_LABEL_DATE, "Fecha" },
	{ QUOTE_LABEL_DATE, "Data" },
	{ QUOTE_LABEL_DATE, "Verzonden" },
	{ QUOTE_LABEL_DATE, "Inviato" },
	{ QUOTE_LABEL_DATE, "Skickat" },
	{ QUOTE_LABEL_DATE, "Sendt" },
	{ QUOTE_LABEL_DATE, "Dato" },
	{ QUOTE_LABEL_DATE, "Lähetetty" },
	{ QUOTE_LABEL_DATE, "Päiväys" },
	{ QUOTE_LABEL_DATE, "Wysłano" },
	{ QUOTE_LABEL_DATE, "Odesláno" },
	{ QUOTE_LABEL_DATE, "Отправлено" },
	{ QUOTE_LABEL_DATE, "Дата" },
	{ QUOTE_LABEL_DATE, "Gönderildi" },
	{ QUOTE_LABEL_DATE, "Tarih" },
	{ QUOTE_LABEL_DATE, "送信日時" },
	{ QUOTE_LABEL_DATE, "日付" },
	{ QUOTE_LABEL_DATE, "发送时间" },
	{ QUOTE_LABEL_DATE, "日期" },
	{ QUOTE_LABEL_DATE, "보낸 날짜" },
	{ QUOTE_LABEL_TO, "To" },
	{ QUOTE_LABEL_TO, "An" },
	{ QUOTE_LABEL_TO, "À" },
	{ QUOTE_LABEL_TO, "Para" },
	{ QUOTE_LABEL_TO, "Aan" },
	{ QUOTE_LABEL_TO, "A" },
	{ QUOTE_LABEL_TO, "Till" },
	{ QUOTE_LABEL_TO, "Til" },
	{ QUOTE_LABEL_TO, "Vastaanottaja" },
	{ QUOTE_LABEL_TO, "Do" },
	{ QUOTE_LABEL_TO, "Komu" },
	{ QUOTE_LABEL_TO, "Кому" },
	{ QUOTE_LABEL_TO, "Kime" },
	{ QUOTE_LABEL_TO, "宛先" },
	{ QUOTE_LABEL_TO, "收件人" },
	{ QUOTE_LABEL_TO, "收件者" },
	{ QUOTE_LABEL_TO, "받는 사람" },
	{ QUOTE_LABEL_SUBJECT, "Subject" },
	{ QUOTE_LABEL_SUBJECT, "Betreff" },
	{ QUOTE_LABEL_SUBJECT, "Objet" },
	{ QUOTE_LABEL_SUBJECT, "Asunto" },
	{ QUOTE_LABEL_SUBJECT, "Onderwerp" },
	{ QUOTE_LABEL_SUBJECT, "Oggetto" },
	{ QUOTE_LABEL_SUBJECT, "Assunto" },
	{ QUOTE_LABEL_SUBJECT, "Ämne" },
	{ QUOTE_LABEL_SUBJECT, "Emne" },
	{ QUOTE_LABEL_SUBJECT, "Aihe" },
	{ QUOTE_LABEL_SUBJECT, "Temat" },
	{ QUOTE_LABEL_SUBJECT, "Předmět" },
	{ QUOTE_LABEL_SUBJECT, "Тема" },
	{ QUOTE_LABEL_SUBJECT, "Konu" },
	{ QUOTE_LABEL_SUBJECT, "件名" },
	{ QUOTE_LABEL_SUBJECT, "主题" },
	{ QUOTE_LABEL_SUBJECT, "主旨" },
	{ QUOTE_LABEL_SUBJECT, "제목" },
};

/* How an attribution begins (NULL: with a name or a date), and what it has before its colon. */
static const struct {
	const char *begin, *verb;
} attributions[] = {
	{ "On ", "wrote" },	{ NULL, "wrote" },	 { "Am ", "schrieb" },
	{ NULL, "schrieb" },	{ "Le ", "a écrit" },	 { NULL, "a écrit" },
	{ "El ", "escribió" },	{ NULL, "escribió" },	 { "Op ", "schreef" },
	{ NULL, "schreef" },	{ "Op ", "geschreven" }, { "Il ", "ha scritto" },
	{ NULL, "ha scritto" }, { "Em ", "escreveu" },	 { NULL, "escreveu" },
	{ "Den ", "skrev" },	{ NULL, "skrev" },	 { NULL, "kirjoitti" },
	{ "W dniu ", "pisze" }, { NULL, "pisze" },	 { NULL, "napisał" },
	{ "Dne ", "napsal" },	{ NULL, "napsal" },	 { NULL, "пишет" },
	{ NULL, "написал" },	{ NULL, "yazdı" },	 { NULL, "写道" },
	{ NULL, "寫道" },	{ NULL, "のメール" },	 { NULL, "작성" },
};

/* What clients add under a mail, in their users' names. */
static const struct {
	const char *begin, *word; /* NULL: anything */
} adverts[] = {
	{ "Sent from my ", NULL },
	{ "Sent from Mail", NULL },
	{ "Sent from Outlook", NULL },
	{ "Sent from Yahoo", NULL },
	{ "Sent from Samsung", NULL },
	{ "Sent from Proton", NULL },
	{ "Sent with ", "Mail" },
	{ "Get Outlook for ", NULL },
	{ "Outlook für ", NULL },
	{ "Outlook for ", NULL },
	{ "Gesendet von ", NULL },
	{ "Von mein", "gesendet" },
	{ "Diese Nachricht wurde von mein", "gesendet" },
	{ "Gesendet mit ", NULL },
	{ "Holen Sie sich Outlook", NULL },
	{ "Envoyé de mon ", NULL },
	{ "Envoyé depuis ", NULL },
	{ "Envoyé à partir de ", NULL },
	{ "Obtenir Outlook", NULL },
	{ "Télécharger Outlook", NULL },
	{ "Enviado desde ", NULL },
	{ "Enviado do ", NULL },
	{ "Obtener Outlook", NULL },
	{ "Verzonden vanaf ", NULL },
	{ "Verstuurd vanaf ", NULL },
	{ "Verzonden met ", NULL },
	{ "Outlook voor ", NULL },
	{ "Download Outlook", NULL },
	{ "Inviato da ", NULL },
	{ "Skickat från min ", NULL },
	{ "Sendt fra min ", NULL },
	{ "Lähetetty ", "iPhone" },
	{ "Wysłane z ", NULL },
	{ "Отправлено с ", NULL },
	{ "iPhoneから送信", NULL },
	{ "发自我的", NULL },
};

static bool begins(struct slice text, const char *with)
{
	size_t len = strlen(with);

	return text.len >= len && strncasecmp(text.data, with, len) == 0;
}

static bool ends(struct slice text, const char *with)
{
	size_t len = strlen(with);

	return text.len >= len && memcmp(text.data + text.len - len, with, len) == 0;
}

static struct slice from(struct slice text, size_t at)
{
	return (struct slice){ text.data + at, text.len - at };
}

/* Without `set` (ASCII) and no-break spaces at both ends. */
static struct slice trim(struct slice text, const char *set)
{
	for (;;) {
		if (begins(text, NBSP))
			text = from(text, 2);
		else if (ends(text, NBSP))
			text.len -= 2;
		else if (text.len > 0 && text.data[0] && strchr(set, text.data[0]))
			text = from(text, 1);
		else if (text.len > 0 && text.data[text.len - 1] &&
			 strchr(set, text.data[text.len - 1]))
			text.len--;
		else
			return text;
	}
}

static bool is_one_of(struct slice text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text.len == strlen(words[i]) && begins(text, words[i]))
			return true;
	return false;
}

/* "-=- words -=-" */
static bool is_ours(struct slice line)
{
	size_t len = strlen(COMPOSE_MARK);

	line = trim(line, " *");
	return line.len >= 2 * len && line.len <= OURS_MAX && begins(line, COMPOSE_MARK) &&
	       ends(line, COMPOSE_MARK);
}

static bool is_all(struct slice line, char c, size_t least)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.data[i] != c)
			return false;
	return line.len >= least;
}

enum quote_line quote_line_kind(struct slice line)
{
	struct slice words = trim(line, " -*:>_=");

	if (trim(line, " \t").len == 0)
		return QUOTE_LINE_BLANK;
	if (slice_is(line, HTML_QUOTE_MARK))
		return QUOTE_LINE_WRAPPER;
	if (slice_is(line, HTML_SIGNATURE_MARK) || slice_is(line, "--") || slice_is(line, "-- "))
		return QUOTE_LINE_SIGNATURE;
	if (is_ours(line))
		return QUOTE_LINE_OURS;
	if (is_all(line, '_', RULE_MIN))
		return QUOTE_LINE_RULE;
	if (begins(line, "--") || begins(line, "==") || begins(line, "__")) {
		if (is_one_of(words, originals, countof(originals)))
			return QUOTE_LINE_ORIGINAL;
		if (is_one_of(words, forwards, countof(forwards)))
			return QUOTE_LINE_FORWARD;
	}
	if (ends(trim(line, " "), ":") && is_one_of(words, forwards, countof(forwards)))
		return QUOTE_LINE_FORWARD;
	return QUOTE_LINE_TEXT;
}

enum quote_label quote_line_label(struct slice line)
{
	line = trim(line, " *\t");
	const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
	const char *wide = line.len ? memmem(line.data, line.len, COLON_WIDE, 3) : NULL;
	const char *end = colon && (!wide || colon < wide) ? colon : wide;

	if (!end)
		return QUOTE_LABEL_NONE;
	struct slice word = trim((struct slice){ line.data, (size_t)(end - line.data) }, " *\t");
	for (size_t i = 0; i < countof(labels); i++)
		if (slice_is(word, labels[i].word))
			return labels[i].label;
	return QUOTE_LABEL_NONE;
}

static bool has(struct slice text, const char *word)
{
	return memmem(text.data, text.len, word, strlen(word)) != NULL;
}

static bool has_digit(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= '0' && text.data[i] <= '9')
			return true;
	return false;
}

enum quote_attribution quote_line_attribution(struct slice paragraph)
{
	enum quote_attribution found = QUOTE_ATTRIBUTION_NO;

	paragraph = trim(paragraph, " *");
	if (paragraph.len > ATTRIBUTION_MAX || paragraph.len == 0 ||
	    (!ends(paragraph, ":") && !ends(paragraph, COLON_WIDE)))
		return QUOTE_ATTRIBUTION_NO;
	if (ends(paragraph, ">:") || (has_digit(paragraph) && has(paragraph, "@")))
		found = QUOTE_ATTRIBUTION_LIKELY;
	for (size_t i = 0; i < countof(attributions); i++) {
		const char *begin = attributions[i].begin;
		if (!has(paragraph, attributions[i].verb))
			continue;
		found = QUOTE_ATTRIBUTION_LIKELY;
		if (begin && begins(paragraph, begin) && has_digit(paragraph))
			return QUOTE_ATTRIBUTION_SURE;
	}
	return found;
}

bool quote_line_is_advert(struct slice line)
{
	line = trim(line, " *\t");
	if (line.len > ADVERT_MAX)
		return false;
	for (size_t i = 0; i < countof(adverts); i++)
		if (begins(line, adverts[i].begin) &&
		    (!adverts[i].word || has(line, adverts[i].word)))
			return true;
	return false;
}
