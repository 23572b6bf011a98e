/*
 * frames.h - binary COPY of penstock.scan in, Arrow struct batches out.
 *
 * Each row of the COPY is one bytea, each bytea one Arrow IPC message (docs/wire.md): the schema,
 * batches, the end marker. Knows no socket and no clock: it says where the next bytes are to be put,
 * so that a batch's body is received into the memory in which it is handed out. The bytes are hostile:
 * what no honest server sends is PST_ERR_PROTOCOL.
 */
#ifndef PSTI_FRAMES_H
#define PSTI_FRAMES_H

#include "arrow_build.h"

typedef struct psti_frames psti_frames;

/*
 * The server's columns must be of the formats of this schema, in its order; those that are not nullable
 * in it must have no NULL. schema is borrowed until free.
 */
pst_status psti_frames_new(const struct ArrowSchema *schema, psti_frames **out, pst_error *err);
void psti_frames_free(psti_frames *frames);

/* Where the next bytes go: *room of them at most, never 0. */
pst_status psti_frames_want(psti_frames *frames, char **at, size_t *room, pst_error *err);

/*
 * n of them are there. PST_OK: more are wanted. PST_AGAIN: a batch is ready, take it first. PST_END:
 * the trailer was read.
 */
pst_status psti_frames_got(psti_frames *frames, size_t n, pst_error *err);

/* Rows of the batch that is ready, 0 when there is none. */
int64_t psti_frames_pending(const psti_frames *frames);

/* Moves it out. */
void psti_frames_take(psti_frames *frames, struct ArrowArray *out);

/* The server has ended the copy: PST_ERR_PROTOCOL unless end marker and trailer were read. */
pst_status psti_frames_finish(const psti_frames *frames, pst_error *err);

/* Another COPY of the same columns follows. A batch that is ready is forgotten. */
void psti_frames_restart(psti_frames *frames);

#endif /* PSTI_FRAMES_H */
