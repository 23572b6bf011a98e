/*
 * position.h - how far a capture has come, as a printable text.
 *
 * "pst1:" and a json object. Behind a position lie all transactions that end at or before safe_lsn, of the
 * one that commits at commit_lsn the changes up to number, and of every table the regions that were read.
 * What is read from a text is checked here for its form, and by the capture against the server.
 */
#ifndef PSTI_CDC_POSITION_H
#define PSTI_CDC_POSITION_H

#include "cdc/judge.h"

typedef enum psti_stage
{
	PSTI_STAGE_CREATING, /* the slot is about to be made, or is half made */
	PSTI_STAGE_SNAPSHOT, /* regions are still to be read, or the copy is not yet a moment of the server */
	PSTI_STAGE_STREAM /* from here on every position is a moment of the server, or inside a transaction */
} psti_stage;

/* A snapshot that regions were read under. */
typedef struct psti_view
{
	psti_snapshot snapshot;
	uint64_t horizon; /* WAL before it holds all that the snapshot sees */
	bool needed;	  /* psti_position_forget's … */
	size_t becomes;	  /* … and its next index */
} psti_view;

typedef enum psti_part_state
{
	PSTI_PART_UNREAD,
	PSTI_PART_BEGUN, /* rows of it were given, not all */
	PSTI_PART_READ
} psti_part_state;

#define PSTI_NO_VIEW SIZE_MAX

/* A region of a table: rows from lower on and below the next part's lower. */
typedef struct psti_part
{
	char *lower; /* the key's text; NULL: below all keys; owned */
	psti_region_key key;
	psti_part_state state;
	size_t view; /* index, of one that is begun that of its read; PSTI_NO_VIEW: the slot's own
				  * snapshot, or it can leave out no more changes */
} psti_part;

/* A table that has rows of its own: the place's itself, or a partition of it. */
typedef struct psti_leaf
{
	uint32_t oid;
	uint32_t filenode; /* when it was read or first told of; 0: not watched */
	uint32_t other;	   /* another one that it had when it was looked at; 0: none. Not stored … */
	uint64_t other_at; /* … nor where WAL was then … */
	uint64_t columns; /* … nor by whom its columns were written when it had the file; 0: unknown */
} psti_leaf;

/* A table as positions know it. */
typedef struct psti_place
{
	uint32_t oid;
	uint64_t columns; /* hash of the names of its columns as they were told last; 0: not told yet */
	bool gone;		  /* it was dropped before it could be read: its changes are left out */
	psti_key_kind kind;
	char *column; /* that the parts are cut by; NULL: there is one part */
	psti_part *parts;
	size_t nparts; /* at least 1 */
	psti_leaf
		*leaves; /* tables whose rows are told under its name, where that is watched; ascending */
	size_t nleaves;
	uint32_t
		*unlogged; /* of them, those whose changes are in no WAL, until they are logged again */
	size_t nunlogged;
	uint32_t
		*members; /* by what the publication has it; none: not known, or by nothing that tells */
	size_t nmembers;
} psti_place;

typedef struct psti_position
{
	char *system; /* identifier of the cluster; all texts are owned */
	char *database;
	char *slot;
	char *plugin;
	char *options; /* fingerprint of the options that shape what is told */
	uint32_t timeline;
	uint32_t publication; /* OID of what a plain stream comes from; 0: not known */
	psti_stage stage;
	int maker; /* PSTI_STAGE_CREATING: the server's process that makes the slot; 0: not known … */
	int64_t made;		 /* … and when it began; microseconds since 1970 */
	uint64_t serial;	 /* grows with every event */
	uint64_t safe_lsn;	 /* PSTI_STAGE_CREATING: where WAL was before the slot */
	uint64_t commit_lsn; /* 0: not inside a transaction */
	uint64_t number;
	uint64_t message_lsn; /* of the last message outside transactions that was told; 0: none */
	uint64_t
		complete_lsn; /* PSTI_STAGE_SNAPSHOT: where the copy becomes a moment, as far as is known */
	psti_view *views;
	size_t nviews;
	psti_place *places; /* ascending by OID */
	size_t nplaces;
	size_t room; /* places that there is room for */
} psti_position;

#define PSTI_POSITION_PREFIX "pst1:"

/* *out is moved to the caller. */
pst_status psti_position_print(const psti_position *position, char **out, pst_error *err);

/* Fills *out, which psti_position_free empties. PST_ERR_INVALID for what is no position. */
pst_status psti_position_parse(const char *text, psti_position *out, pst_error *err);
void psti_position_free(psti_position *position);

/* Of one capture: -1, 0 or 1. */
int psti_position_order(const psti_position *a, const psti_position *b);

/* ---- Places ---- */

/* NULL: there is none of this OID. */
psti_place *psti_position_find(const psti_position *position, uint32_t oid);

/* Adds one of one unread part; pointers to others are void then. *out is borrowed. */
pst_status psti_position_add(psti_position *position, uint32_t oid, psti_place **out,
							 pst_error *err);
void psti_position_remove(psti_position *position, uint32_t oid);

/* Back to one unread part. */
pst_status psti_place_reset(psti_place *place, pst_error *err);

/* Parts that are read under one view, and neighbours, become one. */
void psti_place_merge(psti_place *place);
bool psti_place_is_read(const psti_place *place);
bool psti_place_is_begun(const psti_place *place);

/* NULL: the place has no such leaf. */
psti_leaf *psti_place_leaf(const psti_place *place, uint32_t oid);
pst_status psti_place_add_leaf(psti_place *place, uint32_t oid, uint32_t filenode, pst_error *err);
void psti_place_clear_leaves(psti_place *place);

/* Tables that are unlogged, which stay so when their rows are read anew. */
bool psti_place_is_unlogged(const psti_place *place, uint32_t oid);
pst_status psti_place_set_unlogged(psti_place *place, uint32_t oid, bool unlogged, pst_error *err);

/* Takes over by what the publication has the table. *left: by nothing that it had it by before. */
pst_status psti_place_set_members(psti_place *place, const uint32_t *members, size_t n, bool *left,
								  pst_error *err);

/* ---- Views ---- */

/* Adds a view; the snapshot is moved in. *out is its index. */
pst_status psti_position_see(psti_position *position, psti_snapshot *snapshot, uint64_t horizon,
							 size_t *out, pst_error *err);

/*
 * Forgets views that can leave out no more changes: all transactions that they see lie before safe_lsn.
 * Whether there were any.
 */
bool psti_position_forget(psti_position *position);

/* The text "16/B374D848". */
#define PSTI_LSN_SIZE 24
const char *psti_lsn_print(uint64_t lsn, char out[PSTI_LSN_SIZE]);
bool psti_lsn_parse(const char *text, uint64_t *out);

#endif /* PSTI_CDC_POSITION_H */
