/*
 * slot.h - the replication slot of a capture: made, checked, started, and told how far the consumer is.
 */
#ifndef PSTI_CDC_SLOT_H
#define PSTI_CDC_SLOT_H

#include "cdc/position.h"
#include "conn.h"

/* What the server says of a slot. */
typedef struct psti_slot
{
	bool there;
	bool logical;
	bool active;
	bool temporary;
	int pid;		 /* of who uses it, 0: nobody, or not told … */
	int64_t started; /* … and when that session began; microseconds since 1970, 0: not told */
	char plugin[128];
	char database[256];
	char lost[256]; /* why it is of no use any more, a clause; empty: it is of use */
	uint64_t confirmed_lsn;
	uint64_t restart_lsn;
} psti_slot;

/* The hint where changes are lost. */
#define PSTI_BEGIN_ANEW                                                                            \
	"Begin anew: drop the slot if it is there, start without the position, and empty the target "  \
	"first."

/* Looks a slot up in an ordinary session. */
pst_status psti_slot_find(psti_conn *conn, const char *name, psti_slot *out, pst_error *err);

/*
 * Whether the capture can go on with the slot at the position. The errors say what was lost and what to
 * do; delay is the option's scan.lsn-commit.checkpoints-num-delay, which is the remedy for some.
 */
pst_status psti_slot_check(const psti_slot *slot, const psti_position *position, int64_t delay,
						   pst_error *err);

/*
 * Whether a slot of the name is what a capture has left that had stored that it was about to make it: the
 * position is that one. One that somebody else has, or had before, is an error.
 */
pst_status psti_slot_check_half_made(const psti_slot *slot, const psti_position *position,
									 pst_error *err);

/* For that position: where WAL is now, and when the session of the process began. */
pst_status psti_slot_before(psti_conn *conn, int maker, uint64_t *lsn, int64_t *made,
							pst_error *err);

/*
 * Drops it in an ordinary session; not there is PST_OK. One in use is waited for, for ten seconds; the session
 * of evict (0: nobody) is ended if it uses it.
 */
pst_status psti_slot_drop(psti_conn *conn, const char *name, int evict, pst_error *err);

/* ---- In a session for replication ---- */

/* Fills the system's identifier (at least 32 bytes), the timeline and the end of WAL. */
pst_status psti_slot_identify(psti_conn *stream, char *system, size_t size, uint32_t *timeline,
							  uint64_t *end, pst_error *err);

/* Where the server left timeline then for a newer one, of which now is the present. */
pst_status psti_slot_left(psti_conn *stream, uint32_t now, uint32_t then, uint64_t *lsn,
						  pst_error *err);

/* How a slot is made. */
typedef struct psti_slot_recipe
{
	const char *name;
	const char *plugin;
	bool temporary;
	bool failover; /* synchronised to standbys */
	bool snapshot; /* export one */
} psti_slot_recipe;

/* Asks for it: the server waits for older transactions meanwhile. */
pst_status psti_slot_create(psti_conn *stream, const psti_slot_recipe *recipe, pst_error *err);

/*
 * Waits for it, at most timeout_ms: PST_AGAIN. *consistent is where its stream begins, *snapshot (moved;
 * NULL: not wanted) the id of what the tables were then, to be imported while the session does nothing else.
 */
pst_status psti_slot_created(psti_conn *stream, const psti_slot_recipe *recipe, int timeout_ms,
							 uint64_t *consistent, char **snapshot, pst_error *err);

/* An option of an output plugin. */
typedef struct psti_slot_option
{
	const char *name;
	const char *value; /* NULL: not given */
} psti_slot_option;

pst_status psti_slot_start(psti_conn *stream, const char *name, uint64_t lsn,
						   const psti_slot_option *options, size_t noptions, pst_error *err);

/* ---- In the stream ---- */

typedef enum psti_stream_kind
{
	PSTI_STREAM_DATA,
	PSTI_STREAM_ALIVE
} psti_stream_kind;

/* A message of the stream; data is borrowed as psti_conn_stream_next lends it. */
typedef struct psti_stream_message
{
	psti_stream_kind kind;
	uint64_t lsn; /* of data; ALIVE: the server has gone through its WAL up to here */
	uint64_t end; /* DATA: the end of the server's WAL, as far as it is told */
	bool reply;	  /* the server wants to hear of us */
	const char *data;
	size_t nbytes;
} psti_stream_message;

pst_status psti_stream_read(const char *data, size_t nbytes, psti_stream_message *out,
							pst_error *err);

/* Tells the server what is acknowledged; ask: and that it shall answer. */
pst_status psti_stream_tell(psti_conn *stream, uint64_t acknowledged, bool ask, pst_error *err);

#endif /* PSTI_CDC_SLOT_H */
