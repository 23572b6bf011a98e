/* opening.h - from options and a stored position to a capture that can go on. */
#ifndef PSTI_CDC_OPENING_H
#define PSTI_CDC_OPENING_H

#include "cdc/capture.h"

/* Fills a zeroed handle; the caller frees it after a failure too. */
pst_status psti_opening(pst_cdc *cdc, const char *const *keys, const char *const *values,
						const char *position, const pst_hooks *hooks, pst_error *err);

/* PSTI_STEP_TELL: the position is to be stored that lies before the slot. */
pst_status psti_opening_tell(pst_cdc *cdc, pst_error *err);

/* PSTI_STEP_CREATE: asks for the slot, after what must be there before it. */
pst_status psti_opening_create(pst_cdc *cdc, pst_error *err);

/* PSTI_STEP_CREATED and PSTI_STEP_COVER: PST_AGAIN, not in time. */
pst_status psti_opening_created(pst_cdc *cdc, int timeout_ms, pst_error *err);
pst_status psti_opening_covered(pst_cdc *cdc, int timeout_ms, pst_error *err);

/* PSTI_STEP_GO_ON: what must be there before tables are read, or the stream goes on. */
pst_status psti_opening_go_on(pst_cdc *cdc, pst_error *err);

/*
 * Outside of transactions: that the publication of a plain capture is still the one that it began with, and has
 * its tables; those that were taken out are put in again, and read anew.
 */
pst_status psti_opening_watch(pst_cdc *cdc, pst_error *err);

/* Makes or extends the publication of a plain capture, so that it has the tables. */
pst_status psti_opening_publish(pst_cdc *cdc, const uint32_t *tables, size_t ntables, bool *changed,
								pst_error *err);

#endif /* PSTI_CDC_OPENING_H */
