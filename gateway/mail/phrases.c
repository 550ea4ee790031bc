/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/phrases.h"

#include "base/mem.h"

#include <strings.h>

/* The first is for those who read none of the others. */
static const struct phrases all[] = {
	{
		.language = "en",
		.mark = "Write your reply above this line",
		.subject = "Message from {name}",
		.one = "{name} has written to you in a chat.",
		.many = "{name} has written {count} messages to you in a chat.",
		.more = "{count} more wait for you in the chat.",
		.sent = "{name} wrote this to you in a chat.",
		.reply = "Reply to this mail, and your text appears there.",
		.no_reply = "Replies to this mail are not read.",
	},
	{
		.language = "de",
		.mark = "Bitte oberhalb dieser Zeile antworten",
		.subject = "Nachricht von {name}",
		.one = "{name} hat Ihnen in einem Chat geschrieben.",
		.many = "{name} hat Ihnen in einem Chat {count} Nachrichten geschrieben.",
		.more = "{count} weitere warten im Chat auf Sie.",
		.sent = "{name} hat Ihnen das in einem Chat geschrieben.",
		.reply = "Antworten Sie auf diese Mail, und Ihr Text erscheint dort.",
		.no_reply = "Antworten auf diese Mail werden nicht gelesen.",
	},
	{
		.language = "fr",
		.mark = "Répondez au-dessus de cette ligne",
		.subject = "Message de {name}",
		.one = "{name} vous a écrit dans une discussion.",
		.many = "{name} vous a écrit {count} messages dans une discussion.",
		.more = "{count} autres messages vous attendent dans la discussion.",
		.sent = "{name} vous a écrit ceci dans une discussion.",
		.reply = "Répondez à ce courriel, et votre texte y apparaîtra.",
		.no_reply = "Les réponses à ce courriel ne sont pas lues.",
	},
	{
		.language = "es",
		.mark = "Escriba su respuesta encima de esta línea",
		.subject = "Mensaje de {name}",
		.one = "{name} le ha escrito en un chat.",
		.many = "{name} le ha escrito {count} mensajes en un chat.",
		.more = "{count} mensajes más le esperan en el chat.",
		.sent = "{name} le ha escrito esto en un chat.",
		.reply = "Responda a este correo y su texto aparecerá allí.",
		.no_reply = "Las respuestas a este correo no se leen.",
	},
	{
		.language = "nl",
		.mark = "Schrijf uw antwoord boven deze regel",
		.subject = "Bericht van {name}",
		.one = "{name} heeft u geschreven in een chat.",
		.many = "{name} heeft u {count} berichten geschreven in een chat.",
		.more = "Er wachten nog {count} berichten op u in de chat.",
		.sent = "{name} heeft u dit geschreven in een chat.",
		.reply = "Beantwoord deze mail, en uw tekst verschijnt daar.",
		.no_reply = "Antwoorden op deze mail worden niet gelezen.",
	},
};

/* "de-AT" and "de_AT" are "de". */
static bool is_of(const char *tag, const char *language)
{
	size_t len = strlen(language);

	return strncasecmp(tag, language, len) == 0 &&
	       (tag[len] == '\0' || tag[len] == '-' || tag[len] == '_');
}

const struct phrases *phrases_for(const char *const *languages, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < countof(all); k++)
			if (is_of(languages[i], all[k].language))
				return &all[k];
	return &all[0];
}

void phrases_add(struct buf *out, const char *phrase, const char *name, size_t count)
{
	for (const char *open; (open = strchr(phrase, '{')); phrase = strchr(open, '}') + 1) {
		buf_add(out, phrase, (size_t)(open - phrase));
		if (strncmp(open, "{name}", 6) == 0)
			buf_add_str(out, name);
		else
			buf_format(out, "%zu", count);
	}
	buf_add_str(out, phrase);
}
