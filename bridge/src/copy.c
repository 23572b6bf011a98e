/* copy.c - rows of a source into a sink without the caller between. */
#include "arrow_check.h"
#include "error.h"
#include "tuples.h"

/* The source's error, which its stream tells as an errno value only. */
static pst_status
stream_failed(pst_source *source, struct ArrowArrayStream *stream, pst_error *err)
{
	if (pst_source_error(source, err) == PST_OK)
		psti_fail(err, PST_ERR_STATE, "%s", stream->get_last_error(stream));
	return err->status;
}

static pst_status
copy_batches(pst_sink *sink, pst_source *source, const char *split, pst_error *err)
{
	struct ArrowArrayStream stream = {0};
	pst_status status = pst_source_read(source, split, &stream, err);

	while (status == PST_OK)
	{
		struct ArrowArray batch = {0};

		if (stream.get_next(&stream, &batch) != 0)
			status = stream_failed(source, &stream, err);
		else if (batch.release == NULL)
			break;
		else
		{
			status = pst_sink_write(sink, &batch, NULL, err);
			batch.release(&batch);
		}
		if (status == PST_OK)
			status = pst_sink_poll(sink, err);
	}
	if (stream.release != NULL)
		stream.release(&stream);
	return status;
}

static pst_status
take_tuples(void *ctx, const psti_tuples *tuples, pst_error *err)
{
	pst_sink *sink = ctx;
	pst_status status = psti_sink_write_tuples(sink, tuples, err);

	return status == PST_OK ? pst_sink_poll(sink, err) : status;
}

pst_status
pst_sink_copy(pst_sink *sink, pst_source *source, const char *split, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	if (sink == NULL || source == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "sink or source is NULL"));
	if (psti_sink_verbatim(sink, source))
		status = psti_source_tuples(source, split, take_tuples, sink, &full);
	else
		status = copy_batches(sink, source, split, &full);
	return psti_leave(err, &full, status);
}
