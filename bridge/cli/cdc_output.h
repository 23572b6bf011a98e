/*
 * cdc_output.h - where the events of `penstock cdc` go: lines on standard output, or Arrow streams, one on
 * standard output or one a table and schema in a folder.
 */
#ifndef CLI_CDC_OUTPUT_H
#define CLI_CDC_OUTPUT_H

#include "db.h"

typedef struct cdc_output cdc_output;

/*
 * options are those of the encoders, borrowed. folder is NULL for standard output, arrow only. What can be
 * wrong with the options is told here.
 */
pst_status cdc_output_open(const cli_pairs *options, bool arrow, const char *folder,
						   cdc_output **out, pst_error *err);

/* Takes an event (its rows are moved); much of it may wait for flush. */
pst_status cdc_output_event(cdc_output *to, pst_event *event, pst_error *err);

/* Bytes that wait. */
size_t cdc_output_pending(const cdc_output *to);

/* Writes what waits. durable: and has it on disk where it is a file. */
pst_status cdc_output_flush(cdc_output *to, bool durable, pst_error *err);

/* Writes the ends of Arrow streams too: nothing follows. */
pst_status cdc_output_end(cdc_output *to, pst_error *err);

/* Whether the reader of standard output has gone. */
bool cdc_output_is_closed(const cdc_output *to);

/* Safe on NULL. */
void cdc_output_close(cdc_output *to);

#endif /* CLI_CDC_OUTPUT_H */
