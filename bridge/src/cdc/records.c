/*
 * records.c - the change records of output plugin penstock as changes. See change.h.
 *
 * wire/change.c checks every length and the order of records; here relations are remembered, and rows
 * checked against them. A change borrows the message's bytes.
 */
#include "cdc/change.h"

#include <stdlib.h>

#include <change.h> /* of wire/ */

/* What a value of the stream can be told of: the columns of one side of a row. */
typedef struct side
{
	psti_row row;
	psti_copy_value *values;
	uint8_t *unchanged;
} side;

typedef struct records
{
	psti_change_decoder decoder; /* first: it is what the caller holds */
	change_reader reader;
	psti_stream_relation **relations; /* CHANGE_RELATIONS_MAX, by index; NULL: not described */
	side old;
	side fresh;
	size_t room; /* columns that the sides have room for */
	psti_stream_relation **truncated;
	size_t truncated_room;
	psti_buf text; /* of names that must be terminated */
} records;

static pst_status
broken(pst_error *err, const char *what)
{
	return psti_fail(err, PST_ERR_PROTOCOL, "cannot decode the change records: %s", what);
}

static char *
copy_text(change_bytes bytes)
{
	return strndup((const char *) bytes.data, bytes.len);
}

/* ---- Relations ---- */

/*
 * What the record tells of a type. An array's typmod is that of its elements; its elements are
 * announced by the OID of their base type.
 */
static bool
fill_type(psti_type *type, const change_column *column)
{
	type->oid = column->type;
	type->base = column->base;
	type->typmod = column->typmod;
	type->base_typmod = column->typmod;
	type->elem = column->element;
	type->elem_base = column->element;
	type->elem_typmod = column->element != 0 ? column->typmod : -1;
	type->has_send = column->form == CHANGE_BINARY;
	type->name = copy_text(column->type_name);
	if (type->name == NULL)
		return false;
	if (column->element != 0)
	{
		size_t len = strlen(type->name);

		/* format_type() of an array is that of its elements and []. */
		if (len > 2 && strcmp(type->name + len - 2, "[]") == 0)
			len -= 2;
		type->elem_name = strndup(type->name, len);
		return type->elem_name != NULL;
	}
	return true;
}

static pst_status
fill_columns(psti_stream_relation *relation, const change_relation *record, pst_error *err)
{
	change_bytes columns = record->columns;
	change_column column;

	relation->columns = calloc((size_t) record->ncolumns + 1, sizeof(*relation->columns));
	if (relation->columns == NULL)
		return psti_fail_nomem(err);
	while (change_read_column(&columns, &column) == CHANGE_OK)
	{
		psti_stream_column *to = &relation->columns[relation->ncolumns++];

		to->text = column.form == CHANGE_TEXT;
		to->identity = (column.flags & CHANGE_COLUMN_IDENTITY) != 0;
		to->primary = (column.flags & CHANGE_COLUMN_PRIMARY) != 0;
		to->missing = (column.flags & CHANGE_COLUMN_MISSING) != 0;
		to->name = copy_text(column.name);
		if (to->name == NULL || !fill_type(&to->type, &column))
			return psti_fail_nomem(err);
	}
	return PST_OK;
}

static bool
make_room(records *self, size_t ncolumns)
{
	side *sides[] = {&self->old, &self->fresh};

	if (ncolumns <= self->room)
		return true;
	for (int i = 0; i < 2; i++)
	{
		psti_copy_value *values = realloc(sides[i]->values, ncolumns * sizeof(*values));
		uint8_t *unchanged;

		if (values == NULL)
			return false;
		sides[i]->values = values;
		unchanged = realloc(sides[i]->unchanged, ncolumns);
		if (unchanged == NULL)
			return false;
		sides[i]->unchanged = unchanged;
	}
	self->room = ncolumns;
	return true;
}

static void
free_relation(psti_stream_relation *relation)
{
	if (relation == NULL)
		return;
	psti_stream_relation_clear(relation);
	free(relation);
}

static pst_status
take_relation(records *self, const change_relation *record, psti_change *out, pst_error *err)
{
	psti_stream_relation *relation = calloc(1, sizeof(*relation));
	pst_status status;

	if (relation == NULL || !make_room(self, record->ncolumns))
	{
		free(relation);
		return psti_fail_nomem(err);
	}
	relation->oid = record->oid;
	relation->leaf = record->leaf;
	relation->filenode = record->filenode;
	relation->identity = record->identity;
	relation->persistence = record->persistence;
	relation->schema = copy_text(record->schema);
	relation->name = copy_text(record->name);
	if (relation->schema == NULL || relation->name == NULL)
		status = psti_fail_nomem(err);
	else
		status = fill_columns(relation, record, err);
	if (status != PST_OK)
	{
		free_relation(relation);
		return status;
	}
	free_relation(self->relations[record->index]);
	self->relations[record->index] = relation;
	out->kind = PSTI_CHANGE_RELATION;
	out->relation = relation;
	return PST_OK;
}

/* ---- Rows ---- */

/* Fills a side of all columns, or of those of the identity. */
static bool
fill_side(const psti_stream_relation *relation, const change_tuple *tuple, bool whole, side *out)
{
	change_bytes values = tuple->values;
	bool all = true;

	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		psti_copy_value *value = &out->values[i];
		change_state state;
		change_bytes bytes;

		*value = (psti_copy_value){NULL, 0, true, false};
		out->unchanged[i] = !whole && !relation->columns[i].identity;
		if (!out->unchanged[i])
		{
			if (change_read_value(&values, &state, &bytes) != CHANGE_OK)
				return false;
			out->unchanged[i] = state == CHANGE_UNCHANGED;
			if (state == CHANGE_VALUE)
				*value = (psti_copy_value){bytes.data, bytes.len, false, true};
		}
		all &= !out->unchanged[i];
	}
	out->row = (psti_row){out->values, all ? NULL : out->unchanged};
	return values.len == 0;
}

static pst_status
take_row(records *self, change_kind kind, const change_row *record, psti_change *out,
		 pst_error *err)
{
	psti_stream_relation *relation = self->relations[record->relation];

	if (relation == NULL)
		return broken(err, "a row of a relation that was not described");
	out->kind = kind == CHANGE_INSERT	? PSTI_CHANGE_INSERT
				: kind == CHANGE_UPDATE ? PSTI_CHANGE_UPDATE
										: PSTI_CHANGE_DELETE;
	out->number = record->number;
	out->lsn = record->lsn;
	out->row.relation = relation;
	out->row.old_is_whole = record->old_is_whole;
	out->row.rewrite = record->rewrite;
	out->row.rewrite_begins = record->rewrite_begins;
	if (record->old.there)
	{
		if (!fill_side(relation, &record->old, record->old_is_whole, &self->old))
			return broken(err, "a row whose old values are not those of its relation");
		out->row.old = &self->old.row;
	}
	if (record->fresh.there)
	{
		if (!fill_side(relation, &record->fresh, true, &self->fresh))
			return broken(err, "a row whose values are not those of its relation");
		out->row.fresh = &self->fresh.row;
	}
	return PST_OK;
}

/* ---- The rest ---- */

static pst_status
take_truncate(records *self, const change_truncate *record, psti_change *out, pst_error *err)
{
	change_bytes indexes = record->relations;
	uint32_t index;

	if (record->nrelations > self->truncated_room)
	{
		psti_stream_relation **room =
			realloc(self->truncated, record->nrelations * sizeof(*self->truncated));

		if (room == NULL)
			return psti_fail_nomem(err);
		self->truncated = room;
		self->truncated_room = record->nrelations;
	}
	out->kind = PSTI_CHANGE_TRUNCATE;
	out->number = record->number;
	out->lsn = record->lsn;
	out->truncate.relations = self->truncated;
	while (change_read_index(&indexes, &index) == CHANGE_OK)
	{
		if (self->relations[index] == NULL)
			return broken(err, "a truncate of a relation that was not described");
		self->truncated[out->truncate.n++] = self->relations[index];
	}
	return out->truncate.n == record->nrelations
			   ? PST_OK
			   : broken(err, "a truncate of relations that cannot be");
}

static pst_status
take_begin(records *self, const change_begin *record, psti_change *out, pst_error *err)
{
	out->kind = PSTI_CHANGE_BEGIN;
	out->lsn = record->commit_lsn;
	out->begin.xid = record->xid;
	out->begin.commit_lsn = record->commit_lsn;
	out->begin.commit_time = record->commit_time;
	psti_buf_reset(&self->text);
	psti_buf_append(&self->text, record->origin.data, record->origin.len);
	if (record->origin.len > 0)
		out->begin.origin = self->text.data;
	return psti_buf_check(&self->text, err);
}

static pst_status
take_message(records *self, const change_message *record, psti_change *out, pst_error *err)
{
	out->kind = PSTI_CHANGE_MESSAGE;
	out->number = record->number;
	out->lsn = record->lsn;
	out->message.transactional = record->transactional;
	psti_buf_reset(&self->text);
	psti_buf_append(&self->text, record->prefix.data, record->prefix.len);
	psti_buf_putc(&self->text, '\0');
	out->message.prefix = self->text.data;
	out->message.content = record->content.data;
	out->message.nbytes = record->content.len;
	return psti_buf_check(&self->text, err);
}

static pst_status
take(records *self, const change_record *record, psti_change *out, pst_error *err)
{
	switch (record->kind)
	{
		case CHANGE_RELATION:
			return take_relation(self, &record->relation, out, err);
		case CHANGE_BEGIN:
			return take_begin(self, &record->begin, out, err);
		case CHANGE_INSERT:
		case CHANGE_UPDATE:
		case CHANGE_DELETE:
			return take_row(self, record->kind, &record->row, out, err);
		case CHANGE_TRUNCATE:
			return take_truncate(self, &record->truncate, out, err);
		case CHANGE_MESSAGE:
			return take_message(self, &record->message, out, err);
		case CHANGE_COMMIT:
			out->kind = PSTI_CHANGE_COMMIT;
			out->number = record->commit.nchanges;
			out->lsn = record->commit.end_lsn;
			out->commit.end_lsn = record->commit.end_lsn;
			return PST_OK;
	}
	return broken(err, "a record of an unknown kind");
}

static pst_status
records_open(psti_change_decoder *decoder, uint64_t lsn, const void *data, size_t nbytes,
			 pst_error *err)
{
	records *self = (records *) decoder;
	uint8_t version = 0;

	(void) lsn; /* each change has its own */
	switch (change_open(&self->reader, data, nbytes, &version))
	{
		case CHANGE_OK:
			return PST_OK;
		case CHANGE_VERSIONED:
			psti_fail(err, PST_ERR_UNSUPPORTED,
					  "the output plugin penstock of the server writes version %u of its records, "
					  "libpenstock %s reads version %d",
					  version, pst_version(), CHANGE_VERSION);
			psti_error_hint(err, "Take a libpenstock of the extension's version.");
			return PST_ERR_UNSUPPORTED;
		default:
			return broken(err, "an empty message");
	}
}

static pst_status
records_next(psti_change_decoder *decoder, psti_change *out, pst_error *err)
{
	records *self = (records *) decoder;
	change_record record;
	change_status read = change_next(&self->reader, &record);

	if (read == CHANGE_END)
		return PST_END;
	if (read != CHANGE_OK)
		return broken(err, "bytes that are no record");
	memset(out, 0, sizeof(*out));
	return take(self, &record, out, err);
}

static void
records_forget(psti_change_decoder *decoder)
{
	records *self = (records *) decoder;

	for (size_t i = 0; i < CHANGE_RELATIONS_MAX; i++)
		if (self->relations[i] != NULL)
			self->relations[i]->table = NULL;
}

static void
records_free(psti_change_decoder *decoder)
{
	records *self = (records *) decoder;

	for (size_t i = 0; self->relations != NULL && i < CHANGE_RELATIONS_MAX; i++)
		free_relation(self->relations[i]);
	free(self->relations);
	free(self->old.values);
	free(self->old.unchanged);
	free(self->fresh.values);
	free(self->fresh.unchanged);
	free(self->truncated);
	psti_buf_free(&self->text);
	free(self);
}

pst_status
psti_records_new(psti_change_decoder **out, pst_error *err)
{
	records *self = calloc(1, sizeof(*self));

	*out = NULL;
	if (self == NULL)
		return psti_fail_nomem(err);
	self->decoder = (psti_change_decoder){records_open, records_next, records_forget, records_free};
	self->relations = calloc(CHANGE_RELATIONS_MAX, sizeof(*self->relations));
	if (self->relations == NULL)
	{
		records_free(&self->decoder);
		return psti_fail_nomem(err);
	}
	*out = &self->decoder;
	return PST_OK;
}
