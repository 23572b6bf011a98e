/*
 * position_file.h - where `penstock cdc --position-file` keeps how far it has come.
 *
 * The file is one JSON line: {"penstock":"position","slot":NAME,"position":TEXT}. It is replaced as a whole:
 * written beside its name, synced, renamed, and its folder synced, so that after a crash it is the old one
 * or the new one. While a process uses it NAME.lock is locked, so that no second one does.
 */
#ifndef CLI_POSITION_FILE_H
#define CLI_POSITION_FILE_H

#include "penstock.h"

typedef struct position_file
{
	char *path;		 /* owned, as are the next ones */
	char *temporary; /* what is written before it is renamed */
	char *lock_path;
	int lock;		/* -1: not locked */
	char *slot;		/* what the file has held; NULL where there was none */
	char *position; /* the same */
} position_file;

/* Locks and reads it. PST_ERR_FENCED: another process uses it. To be closed in either case. */
pst_status position_file_open(position_file *file, const char *path, pst_error *err);

/* Replaces its content, durably. */
pst_status position_file_store(position_file *file, const char *slot, const char *position,
							   pst_error *err);

/* Takes the file away, durably. */
pst_status position_file_remove(position_file *file, pst_error *err);

void position_file_close(position_file *file);

#endif /* CLI_POSITION_FILE_H */
