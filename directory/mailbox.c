/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/mailbox.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
	struct stop *stop;
	int fd;
	pthread_mutex_t mutex; /* of all below */
	struct mailbox_wishes wishes;
	struct report_counts counts;
	struct report_state state;
};

struct mailbox *mailbox_new(void)
{
	struct mailbox *mailbox = mem_new(struct mailbox);

	mailbox->stop = stop_new(NULL);
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->fd < 0 || pthread_mutex_init(&mailbox->mutex, NULL) != 0)
		abort(); /* out of descriptors */
	return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
	if (!mailbox)
		return;
	stop_free(mailbox->stop);
	close(mailbox->fd);
	pthread_mutex_destroy(&mailbox->mutex);
	report_state_clear(&mailbox->state);
	free(mailbox);
}

struct stop *mailbox_stop(const struct mailbox *mailbox)
{
	return mailbox->stop;
}

int mailbox_fd(const struct mailbox *mailbox)
{
	return mailbox->fd;
}

void mailbox_wish(struct mailbox *mailbox, enum publish_kind kind, bool draft)
{
	pthread_mutex_lock(&mailbox->mutex);
	mailbox->wishes.full |= kind == PUBLISH_FULL;
	mailbox->wishes.dry_run |= kind == PUBLISH_DRY_RUN;
	if (kind == PUBLISH_DRY_RUN)
		mailbox->wishes.draft = draft;
	pthread_mutex_unlock(&mailbox->mutex);
	if (eventfd_write(mailbox->fd, 1) != 0)
		abort(); /* only for a descriptor that is none */
}

bool mailbox_is_wished(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->mutex);
	bool wished = mailbox->wishes.full || mailbox->wishes.dry_run;
	pthread_mutex_unlock(&mailbox->mutex);
	return wished;
}

struct mailbox_wishes mailbox_look(struct mailbox *mailbox)
{
	eventfd_t ignored;

	(void)eventfd_read(mailbox->fd, &ignored); /* EAGAIN: nothing new */
	pthread_mutex_lock(&mailbox->mutex);
	struct mailbox_wishes wishes = mailbox->wishes;
	pthread_mutex_unlock(&mailbox->mutex);
	return wishes;
}

void mailbox_done(struct mailbox *mailbox, enum publish_kind kind)
{
	pthread_mutex_lock(&mailbox->mutex);
	if (kind == PUBLISH_FULL)
		mailbox->wishes.full = false;
	else
		mailbox->wishes.dry_run = mailbox->wishes.draft = false;
	pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_forget(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->mutex);
	mailbox->wishes = (struct mailbox_wishes){ 0 };
	pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_count(struct mailbox *mailbox, const struct report_counts *counts)
{
	pthread_mutex_lock(&mailbox->mutex);
	report_add(&mailbox->counts, counts);
	pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_show(struct mailbox *mailbox, struct report_state state)
{
	pthread_mutex_lock(&mailbox->mutex);
	struct report_state old = mailbox->state;
	mailbox->state = state;
	pthread_mutex_unlock(&mailbox->mutex);
	report_state_clear(&old);
}

static struct report_state copy_of(const struct report_state *state)
{
	struct report_state copy = { mem_array(struct report_row, state->n), state->n };

	for (size_t i = 0; i < state->n; i++) {
		copy.rows[i] = state->rows[i];
		copy.rows[i].name = str_dup(state->rows[i].name);
		copy.rows[i].detail = str_dup(state->rows[i].detail);
	}
	return copy;
}

void mailbox_read(struct mailbox *mailbox, struct report_counts *counts, struct report_state *state)
{
	pthread_mutex_lock(&mailbox->mutex);
	report_add(counts, &mailbox->counts);
	mailbox->counts = (struct report_counts){ 0 };
	*state = copy_of(&mailbox->state);
	pthread_mutex_unlock(&mailbox->mutex);
}
