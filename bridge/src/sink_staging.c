/* sink_staging.c - rows that wait in a table of their own until their epoch is committed. */
#include "sink.h"

pst_status
psti_staging_open(pst_sink *sink, pst_error *err)
{
	return psti_opt_fail(sink->options, PSTI_OPT_STAGING, err, "it is not there yet");
}

pst_status
psti_staging_flush(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	(void) attempt;
	return psti_staging_open(sink, err);
}
