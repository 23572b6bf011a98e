/*
 * pgoutput.c - messages of the server's own output plugin, protocol version 1, as changes.
 *
 * A message is a kind and its fields ("Logical Replication Message Formats" in the manual): one a payload
 * of the stream. Values come as text. What the send function would give is made of them where the decoder
 * knows the type, so that a row from the stream and one from a snapshot are the same bytes; of other types
 * the text stays. The bytes are hostile: every length and count is checked before it is used.
 *
 * The server describes a relation before its first change and whenever something may have changed, and
 * relies on it that descriptions are kept: none is forgotten. A description that says what the last one
 * said changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "change.h"

#define HELD_MAX ((size_t) 1 << 30) /* bytes of descriptions: what no honest server comes near to */
#define COLUMNS_MAX 1664			/* of any row of the server */

/* A value as it stands in the message: n, u or t, and of t the text. */
typedef struct raw_value
{
	char kind;
	const char *text;
	size_t nbytes;
} raw_value;

/* A relation, and how its messages are read. */
typedef struct entry
{
	psti_stream_relation relation;
	size_t ntold;			 /* columns in a message; relation may have fewer */
	size_t *order;			 /* column i stands at order[i] in a message */
	psti_copy_column *types; /* column i, for psti_value_of_text; names borrowed */
	size_t nbytes;			 /* of memory, about */
} entry;

/* A row that is handed out. */
typedef struct row_store
{
	psti_row row;
	psti_copy_value *values;
	size_t *made; /* where in bytes value i begins that was made there; SIZE_MAX: in the message */
	uint8_t *unchanged;
} row_store;

typedef struct pgoutput
{
	psti_change_decoder base;
	psti_complete_fn complete;
	void *ctx;
	entry **entries; /* a hash table by leaf, of a power of two */
	size_t nentries;
	size_t cap;
	size_t held;

	const uint8_t *at; /* of the message */
	size_t left;
	char kind; /* 0: it is used up */
	uint64_t lsn;

	bool in_transaction;
	bool begin_due; /* BEGIN was read and not given: the origin may follow */
	uint64_t number;
	uint64_t xid;
	uint64_t commit_lsn;
	int64_t commit_time;
	char *origin;

	size_t width; /* columns that what follows has room for */
	raw_value *raw;
	row_store old;
	row_store fresh;
	psti_buf bytes; /* of values that were converted */
	psti_stream_relation **truncated;
	size_t truncated_cap;
} pgoutput;

/* ---- Reading ---- */

static pst_status
fail_message(const pgoutput *d, pst_error *err)
{
	return psti_fail(err, PST_ERR_PROTOCOL,
					 "a message of pgoutput of kind \"%c\" is not as the protocol says", d->kind);
}

static bool
take_8(pgoutput *d, uint8_t *out)
{
	if (d->left < 1)
		return false;
	*out = *d->at++;
	d->left--;
	return true;
}

static bool
take_16(pgoutput *d, uint16_t *out)
{
	if (d->left < 2)
		return false;
	*out = psti_get16(d->at);
	d->at += 2;
	d->left -= 2;
	return true;
}

static bool
take_32(pgoutput *d, uint32_t *out)
{
	if (d->left < 4)
		return false;
	*out = psti_get32(d->at);
	d->at += 4;
	d->left -= 4;
	return true;
}

static bool
take_64(pgoutput *d, uint64_t *out)
{
	if (d->left < 8)
		return false;
	*out = psti_get64(d->at);
	d->at += 8;
	d->left -= 8;
	return true;
}

static bool
take_bytes(pgoutput *d, size_t n, const char **out)
{
	if (d->left < n)
		return false;
	*out = (const char *) d->at;
	d->at += n;
	d->left -= n;
	return true;
}

/* A text with its terminator, which is in the message. */
static bool
take_text(pgoutput *d, const char **out)
{
	const uint8_t *end = memchr(d->at, '\0', d->left);

	return end != NULL && take_bytes(d, (size_t) (end - d->at) + 1, out);
}

/* ---- Relations ---- */

static void
entry_free(entry *e)
{
	if (e == NULL)
		return;
	psti_stream_relation_clear(&e->relation);
	free(e->order);
	free(e->types);
	free(e);
}

/* The place of a relation in the table, or of the free slot where it belongs. cap is not 0. */
static size_t
place_of(entry *const *entries, size_t cap, uint32_t leaf)
{
	size_t i = (leaf * UINT32_C(2654435761)) & (cap - 1);

	while (entries[i] != NULL && entries[i]->relation.leaf != leaf)
		i = (i + 1) & (cap - 1);
	return i;
}

static entry *
find(const pgoutput *d, uint32_t leaf)
{
	return d->cap == 0 ? NULL : d->entries[place_of(d->entries, d->cap, leaf)];
}

/* Room for one more. */
static bool
grow_table(pgoutput *d)
{
	size_t cap = d->cap == 0 ? 64 : d->cap * 2;
	entry **grown;

	if (d->cap > 0 && d->nentries < d->cap / 2)
		return true;
	grown = calloc(cap, sizeof(*grown));
	if (grown == NULL)
		return false;
	for (size_t i = 0; i < d->cap; i++)
		if (d->entries[i] != NULL)
			grown[place_of(grown, cap, d->entries[i]->relation.leaf)] = d->entries[i];
	free(d->entries);
	d->entries = grown;
	d->cap = cap;
	return true;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_column(const psti_stream_column *a, const psti_stream_column *b)
{
	return same_text(a->name, b->name) && a->text == b->text && a->identity == b->identity &&
		   a->primary == b->primary && a->missing == b->missing && a->type.oid == b->type.oid &&
		   a->type.typmod == b->type.typmod && a->type.base == b->type.base &&
		   a->type.base_typmod == b->type.base_typmod && a->type.elem == b->type.elem &&
		   a->type.elem_base == b->type.elem_base && a->type.elem_typmod == b->type.elem_typmod &&
		   same_text(a->type.name, b->type.name) && same_text(a->type.elem_name, b->type.elem_name);
}

static bool
same_entry(const entry *a, const entry *b)
{
	if (a->relation.oid != b->relation.oid || a->relation.leaf != b->relation.leaf ||
		a->relation.filenode != b->relation.filenode ||
		a->relation.identity != b->relation.identity ||
		a->relation.ncolumns != b->relation.ncolumns || a->ntold != b->ntold ||
		!same_text(a->relation.schema, b->relation.schema) ||
		!same_text(a->relation.name, b->relation.name))
		return false;
	for (size_t i = 0; i < a->relation.ncolumns; i++)
		if (a->order[i] != b->order[i] ||
			!same_column(&a->relation.columns[i], &b->relation.columns[i]))
			return false;
	return true;
}

/* Puts it in the place of what was known of its relation; e is freed where that fails or it says the same. */
static pst_status
keep(pgoutput *d, entry *e, pst_error *err)
{
	entry *known = find(d, e->relation.leaf);
	size_t at;

	if (known != NULL && same_entry(known, e))
	{
		entry_free(e);
		return PST_OK;
	}
	if (d->held - (known == NULL ? 0 : known->nbytes) + e->nbytes > HELD_MAX)
	{
		entry_free(e);
		return psti_fail(err, PST_ERR_PROTOCOL, "the stream describes %zu tables in more than 1 GB",
						 d->nentries);
	}
	if (known == NULL && !grow_table(d))
	{
		entry_free(e);
		return psti_fail_nomem(err);
	}
	at = place_of(d->entries, d->cap, e->relation.leaf);
	d->held += e->nbytes;
	if (known != NULL)
		d->held -= known->nbytes;
	else
		d->nentries++;
	entry_free(known);
	d->entries[at] = e;
	return PST_OK;
}

/* A copy of a text of the message. */
static bool
copy_text(pgoutput *d, char **out, entry *e, bool *nomem)
{
	const char *text;

	if (!take_text(d, &text))
		return false;
	*out = strdup(text);
	*nomem = *out == NULL;
	e->nbytes += strlen(text) + 1;
	return *out != NULL;
}

static bool
read_columns(pgoutput *d, entry *e, bool *nomem)
{
	psti_stream_relation *relation = &e->relation;
	uint16_t ncolumns;

	/* A column has at least flags, an empty name, type and typmod. */
	if (!take_16(d, &ncolumns) || ncolumns > COLUMNS_MAX || ncolumns > d->left / 10)
		return false;
	relation->columns = calloc(ncolumns > 0 ? ncolumns : 1, sizeof(*relation->columns));
	e->order = calloc(ncolumns > 0 ? ncolumns : 1, sizeof(*e->order));
	e->types = calloc(ncolumns > 0 ? ncolumns : 1, sizeof(*e->types));
	*nomem = relation->columns == NULL || e->order == NULL || e->types == NULL;
	if (*nomem)
		return false;
	e->nbytes +=
		ncolumns * (sizeof(*relation->columns) + sizeof(*e->order) + sizeof(*e->types) + 64);
	for (; relation->ncolumns < ncolumns; relation->ncolumns++)
	{
		psti_stream_column *column = &relation->columns[relation->ncolumns];
		psti_type *type = &column->type;
		uint8_t flags;
		uint32_t typmod;

		if (!take_8(d, &flags) || !copy_text(d, &column->name, e, nomem) ||
			!take_32(d, &type->oid) || !take_32(d, &typmod))
		{
			free(column->name); /* not counted yet */
			return false;
		}
		column->identity = (flags & 1) != 0;
		type->typmod = (int32_t) typmod;
		type->base = type->oid;
		type->base_typmod = type->typmod;
		e->order[relation->ncolumns] = relation->ncolumns;
	}
	e->ntold = ncolumns;
	return true;
}

static bool
read_description(pgoutput *d, entry *e, bool *nomem)
{
	psti_stream_relation *relation = &e->relation;
	uint8_t identity;

	e->nbytes = sizeof(*e);
	if (!take_32(d, &relation->leaf) || !copy_text(d, &relation->schema, e, nomem) ||
		!copy_text(d, &relation->name, e, nomem) || !take_8(d, &identity) ||
		!read_columns(d, e, nomem))
		return false;
	relation->oid = relation->leaf;
	relation->identity = (char) identity;
	/* The system's own schema is left out. */
	if (relation->schema[0] == '\0')
	{
		free(relation->schema);
		relation->schema = strdup("pg_catalog");
		*nomem = relation->schema == NULL;
	}
	return d->left == 0 && !*nomem;
}

/* How values of the completed columns are read. */
static void
choose_types(entry *e)
{
	for (size_t i = 0; i < e->relation.ncolumns; i++)
	{
		psti_stream_column *column = &e->relation.columns[i];
		const psti_type *type = &column->type;
		psti_copy_column *copy = &e->types[i];

		copy->name = column->name;
		copy->list = type->elem != 0;
		copy->elem = type->elem;
		column->text = column->text || type->name == NULL || type->name[0] == '\0' ||
					   !psti_copy_known(copy->list ? type->elem_base : type->base, &copy->type);
		if (column->text)
			*copy = (psti_copy_column){.name = column->name, .type = PSTI_COPY_TEXT};
	}
}

static pst_status
read_relation(pgoutput *d, pst_error *err)
{
	entry *e = calloc(1, sizeof(*e));
	bool nomem = false;
	pst_status status;

	if (e == NULL)
		return psti_fail_nomem(err);
	if (!read_description(d, e, &nomem))
		status = nomem ? psti_fail_nomem(err) : fail_message(d, err);
	else
		status = d->complete(d->ctx, &e->relation, e->order, err);
	if (status != PST_OK)
	{
		entry_free(e);
		return status;
	}
	choose_types(e);
	return keep(d, e, err);
}

/* ---- Rows ---- */

static bool
grow_row(row_store *store, size_t width)
{
	psti_copy_value *values = realloc(store->values, width * sizeof(*values));
	size_t *made;
	uint8_t *unchanged;

	if (values == NULL)
		return false;
	store->values = values;
	made = realloc(store->made, width * sizeof(*made));
	if (made == NULL)
		return false;
	store->made = made;
	unchanged = realloc(store->unchanged, width);
	if (unchanged == NULL)
		return false;
	store->unchanged = unchanged;
	return true;
}

static bool
grow_rows(pgoutput *d, size_t width)
{
	raw_value *raw;

	if (width <= d->width)
		return true;
	raw = realloc(d->raw, width * sizeof(*raw));
	if (raw == NULL)
		return false;
	d->raw = raw;
	if (!grow_row(&d->old, width) || !grow_row(&d->fresh, width))
		return false;
	d->width = width;
	return true;
}

static pst_status
fail_value(const entry *e, size_t i, pst_error *err)
{
	psti_fail(
		err, PST_ERR_PROTOCOL, "column \"%s\" of %s.%s: the text of a value is not as %s prints it",
		e->types[i].name, e->relation.schema, e->relation.name, e->relation.columns[i].type.name);
	psti_error_detail(err,
					  "The stream's session has other output settings, or the bytes are damaged.");
	return err->status;
}

/* Whether the text is what the send function gives. */
static bool
is_verbatim(const psti_copy_column *type)
{
	return !type->list && (type->type == PSTI_COPY_TEXT || type->type == PSTI_COPY_JSON);
}

static pst_status
put_value(pgoutput *d, const entry *e, row_store *to, size_t i, pst_error *err)
{
	const raw_value *raw = &d->raw[e->order[i]];
	psti_copy_value *value = &to->values[i];
	const psti_copy_column *type = &e->types[i];

	*value = (psti_copy_value){NULL, 0, raw->kind != 't', false};
	to->unchanged[i] = raw->kind == 'u';
	to->made[i] = SIZE_MAX;
	if (raw->kind != 't')
		return PST_OK;
	if (is_verbatim(type))
	{
		value->data = raw->text;
		value->len = raw->nbytes;
		value->spent = true;
		return PST_OK;
	}
	to->made[i] = d->bytes.len;
	if (!psti_value_of_text(type, raw->text, raw->nbytes, &d->bytes))
		return d->bytes.failed ? psti_fail_nomem(err) : fail_value(e, i, err);
	value->len = d->bytes.len - to->made[i];
	return PST_OK;
}

/* The values of a tuple as they stand in the message. */
static pst_status
read_raw(pgoutput *d, const entry *e, pst_error *err)
{
	uint16_t ncolumns;

	if (!take_16(d, &ncolumns))
		return fail_message(d, err);
	if (ncolumns != e->ntold)
		return psti_fail(err, PST_ERR_PROTOCOL, "a row of %s.%s has %u columns, not %zu",
						 e->relation.schema, e->relation.name, ncolumns, e->ntold);
	for (size_t i = 0; i < ncolumns; i++)
	{
		raw_value *raw = &d->raw[i];
		uint8_t kind;
		uint32_t nbytes;

		if (!take_8(d, &kind))
			return fail_message(d, err);
		raw->kind = (char) kind;
		if (kind == 'n' || kind == 'u')
			continue;
		if (kind == 'b')
			return psti_fail(err, PST_ERR_PROTOCOL,
							 "a row of %s.%s has a binary value, which was not asked for",
							 e->relation.schema, e->relation.name);
		if (kind != 't' || !take_32(d, &nbytes) || !take_bytes(d, nbytes, &raw->text))
			return fail_message(d, err);
		raw->nbytes = nbytes;
	}
	return PST_OK;
}

/* A tuple; of a key the columns that are not in it are not told. */
static pst_status
read_row(pgoutput *d, const entry *e, bool key, row_store *to, pst_error *err)
{
	pst_status status = read_raw(d, e, err);

	for (size_t i = 0; status == PST_OK && i < e->relation.ncolumns; i++)
	{
		if (key && !e->relation.columns[i].identity)
			d->raw[e->order[i]].kind = 'u';
		status = put_value(d, e, to, i, err);
	}
	return status;
}

/* Once the bytes do not move any more. */
static void
finish_row(const pgoutput *d, size_t ncolumns, row_store *to)
{
	bool all = true;

	for (size_t i = 0; i < ncolumns; i++)
	{
		if (to->made[i] != SIZE_MAX)
			to->values[i].data = d->bytes.data == NULL ? "" : d->bytes.data + to->made[i];
		all = all && !to->unchanged[i];
	}
	to->row.values = to->values;
	to->row.unchanged = all ? NULL : to->unchanged;
}

/* What an update left alone is in the old row, where that is told. */
static void
take_unchanged(row_store *old, row_store *fresh, size_t ncolumns)
{
	bool all = true;

	for (size_t i = 0; fresh->row.unchanged != NULL && i < ncolumns; i++)
	{
		if (!fresh->unchanged[i])
			continue;
		all = all && !old->unchanged[i];
		fresh->unchanged[i] = old->unchanged[i];
		fresh->values[i] = old->values[i];
		old->values[i].spent = false;
	}
	if (all)
		fresh->row.unchanged = NULL;
}

/* Insert, update or delete: relation, then K or O and the old row, then N and the new one. */
static pst_status
read_change(pgoutput *d, psti_change *out, pst_error *err)
{
	uint32_t leaf;
	uint8_t part;
	entry *e;
	pst_status status = PST_OK;

	out->kind = d->kind == 'I'	 ? PSTI_CHANGE_INSERT
				: d->kind == 'U' ? PSTI_CHANGE_UPDATE
								 : PSTI_CHANGE_DELETE;
	if (!take_32(d, &leaf) || !take_8(d, &part))
		return fail_message(d, err);
	e = find(d, leaf);
	if (e == NULL)
		return psti_fail(err, PST_ERR_PROTOCOL,
						 "pgoutput tells of the relation with OID %u without describing it", leaf);
	if (!grow_rows(d, e->ntold))
		return psti_fail_nomem(err);
	psti_buf_reset(&d->bytes);
	out->row.relation = &e->relation;
	if (d->kind != 'I' && (part == 'K' || part == 'O'))
	{
		status = read_row(d, e, part == 'K', &d->old, err);
		out->row.old = &d->old.row;
		out->row.old_is_whole = part == 'O';
		if (status == PST_OK && d->kind == 'U' && !take_8(d, &part))
			status = fail_message(d, err);
	}
	else if (d->kind == 'D')
		return fail_message(d, err);
	if (status == PST_OK && d->kind != 'D')
	{
		if (part != 'N')
			return fail_message(d, err);
		status = read_row(d, e, false, &d->fresh, err);
		out->row.fresh = &d->fresh.row;
		/* Only an update leaves anything alone. */
		if (status == PST_OK && d->kind == 'I' && e->relation.ncolumns > 0 &&
			memchr(d->fresh.unchanged, 1, e->relation.ncolumns) != NULL)
			status = fail_message(d, err);
	}
	if (status == PST_OK && d->left != 0)
		status = fail_message(d, err);
	if (status != PST_OK)
		return status;
	if (out->row.old != NULL)
		finish_row(d, e->relation.ncolumns, &d->old);
	if (out->row.fresh != NULL)
		finish_row(d, e->relation.ncolumns, &d->fresh);
	if (out->row.old != NULL && out->row.fresh != NULL)
		take_unchanged(&d->old, &d->fresh, e->relation.ncolumns);
	out->number = ++d->number;
	out->lsn = d->lsn;
	return PST_OK;
}

/* ---- The other messages ---- */

static pst_status
read_begin(pgoutput *d, pst_error *err)
{
	uint64_t time;
	uint32_t xid;

	if (d->in_transaction || !take_64(d, &d->commit_lsn) || !take_64(d, &time) ||
		!take_32(d, &xid) || d->left != 0)
		return fail_message(d, err);
	d->in_transaction = true;
	d->begin_due = true;
	d->number = 0;
	d->xid = xid;
	d->commit_time = (int64_t) time;
	free(d->origin);
	d->origin = NULL;
	return PST_OK;
}

/* Between BEGIN and whatever comes first: where the transaction came from. */
static pst_status
read_origin(pgoutput *d, pst_error *err)
{
	const char *name;
	uint64_t lsn;

	if (!d->begin_due || d->origin != NULL || !take_64(d, &lsn) || !take_text(d, &name) ||
		d->left != 0)
		return fail_message(d, err);
	d->origin = strdup(name);
	return d->origin == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* The name of a type: the catalog says more. */
static pst_status
read_type(pgoutput *d, pst_error *err)
{
	uint32_t oid;
	const char *text;

	if (!take_32(d, &oid) || !take_text(d, &text) || !take_text(d, &text) || d->left != 0)
		return fail_message(d, err);
	return PST_OK;
}

static void
give_begin(pgoutput *d, psti_change *out)
{
	d->begin_due = false;
	out->kind = PSTI_CHANGE_BEGIN;
	out->lsn = d->commit_lsn;
	out->begin.xid = d->xid;
	out->begin.commit_lsn = d->commit_lsn;
	out->begin.commit_time = d->commit_time;
	out->begin.origin = d->origin;
}

static pst_status
read_commit(pgoutput *d, psti_change *out, pst_error *err)
{
	uint8_t flags;
	uint64_t time;

	if (!take_8(d, &flags) || !take_64(d, &out->lsn) || !take_64(d, &out->commit.end_lsn) ||
		!take_64(d, &time) || d->left != 0)
		return fail_message(d, err);
	out->kind = PSTI_CHANGE_COMMIT;
	d->in_transaction = false;
	return PST_OK;
}

static pst_status
read_truncate(pgoutput *d, psti_change *out, pst_error *err)
{
	uint32_t n;
	uint8_t flags;

	if (!take_32(d, &n) || !take_8(d, &flags) || n != d->left / 4 || d->left % 4 != 0)
		return fail_message(d, err);
	if (n > d->truncated_cap)
	{
		psti_stream_relation **grown = realloc(d->truncated, n * sizeof(*grown));

		if (grown == NULL)
			return psti_fail_nomem(err);
		d->truncated = grown;
		d->truncated_cap = n;
	}
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t leaf = 0;
		entry *e;

		take_32(d, &leaf);
		e = find(d, leaf);
		if (e == NULL)
			return psti_fail(err, PST_ERR_PROTOCOL,
							 "pgoutput tells of the relation with OID %u without describing it",
							 leaf);
		d->truncated[i] = &e->relation;
	}
	out->kind = PSTI_CHANGE_TRUNCATE;
	out->truncate.relations = d->truncated;
	out->truncate.n = n;
	out->number = ++d->number;
	out->lsn = d->lsn;
	return PST_OK;
}

static pst_status
read_message(pgoutput *d, psti_change *out, pst_error *err)
{
	uint8_t flags;
	uint32_t nbytes;
	const char *content;

	if (!take_8(d, &flags) || !take_64(d, &out->lsn) || !take_text(d, &out->message.prefix) ||
		!take_32(d, &nbytes) || !take_bytes(d, nbytes, &content) || d->left != 0)
		return fail_message(d, err);
	out->kind = PSTI_CHANGE_MESSAGE;
	out->message.transactional = (flags & 1) != 0;
	out->message.content = content;
	out->message.nbytes = nbytes;
	if (!out->message.transactional)
		return PST_OK;
	if (!d->in_transaction)
		return fail_message(d, err);
	out->number = ++d->number;
	return PST_OK;
}

static pst_status
fail_kind(const pgoutput *d, pst_error *err)
{
	if (d->kind != '\0' && strchr("SEcAbPKrp", d->kind) != NULL)
		return psti_fail(
			err, PST_ERR_PROTOCOL,
			"pgoutput sends a message of kind \"%c\", which protocol version 1 does not have",
			d->kind);
	return psti_fail(err, PST_ERR_PROTOCOL,
					 "what pgoutput sends begins with 0x%02x, which is no message",
					 (unsigned) (uint8_t) d->kind);
}

/* ---- The decoder ---- */

static pst_status
pgoutput_open(psti_change_decoder *decoder, uint64_t lsn, const void *data, size_t nbytes,
			  pst_error *err)
{
	pgoutput *d = (pgoutput *) decoder;

	d->at = data;
	d->left = nbytes;
	d->lsn = lsn;
	d->kind = '\0';
	/* Before 14 it is what is sent in the place of an origin that has no name any more. */
	if (nbytes == 0 && d->begin_due)
		return PST_OK;
	if (nbytes == 0)
		return psti_fail(err, PST_ERR_PROTOCOL, "pgoutput sends an empty message");
	d->kind = (char) *d->at++;
	d->left--;
	return d->kind == '\0' ? fail_kind(d, err) : PST_OK;
}

/* A message of which there is nothing to give. */
static pst_status
read_quiet(pgoutput *d, pst_error *err)
{
	switch (d->kind)
	{
		case 'B':
			return read_begin(d, err);
		case 'O':
			return read_origin(d, err);
		case 'R':
			return read_relation(d, err);
		default:
			return read_type(d, err);
	}
}

static pst_status
read_loud(pgoutput *d, psti_change *out, pst_error *err)
{
	if (d->kind != 'M' && !d->in_transaction)
		return psti_fail(err, PST_ERR_PROTOCOL,
						 "pgoutput sends a message of kind \"%c\" outside of a transaction",
						 d->kind);
	switch (d->kind)
	{
		case 'C':
			return read_commit(d, out, err);
		case 'T':
			return read_truncate(d, out, err);
		case 'M':
			return read_message(d, out, err);
		default:
			return read_change(d, out, err);
	}
}

static pst_status
pgoutput_next(psti_change_decoder *decoder, psti_change *out, pst_error *err)
{
	pgoutput *d = (pgoutput *) decoder;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (d->kind == '\0')
		return PST_END;
	/* What is described is looked up, for which the transaction must be known. */
	if (d->begin_due && d->kind == 'R')
	{
		give_begin(d, out);
		return PST_OK;
	}
	if (strchr("BORY", d->kind) != NULL)
	{
		status = read_quiet(d, err);
		d->kind = '\0';
		return status == PST_OK ? PST_END : status;
	}
	if (strchr("IUDTCM", d->kind) == NULL)
	{
		status = fail_kind(d, err);
		d->kind = '\0';
		return status;
	}
	if (d->begin_due)
	{
		give_begin(d, out);
		return PST_OK;
	}
	status = read_loud(d, out, err);
	d->kind = '\0';
	return status;
}

static void
pgoutput_forget_tables(psti_change_decoder *decoder)
{
	pgoutput *d = (pgoutput *) decoder;

	for (size_t i = 0; i < d->cap; i++)
		if (d->entries[i] != NULL)
			d->entries[i]->relation.table = NULL;
}

static void
free_row(row_store *store)
{
	free(store->values);
	free(store->made);
	free(store->unchanged);
}

static void
pgoutput_free(psti_change_decoder *decoder)
{
	pgoutput *d = (pgoutput *) decoder;

	if (d == NULL)
		return;
	for (size_t i = 0; i < d->cap; i++)
		entry_free(d->entries[i]);
	free(d->entries);
	free(d->origin);
	free(d->raw);
	free_row(&d->old);
	free_row(&d->fresh);
	free(d->truncated);
	psti_buf_free(&d->bytes);
	free(d);
}

pst_status
psti_pgoutput_new(psti_complete_fn complete, void *ctx, psti_change_decoder **out, pst_error *err)
{
	pgoutput *d = calloc(1, sizeof(*d));

	*out = NULL;
	if (d == NULL)
		return psti_fail_nomem(err);
	d->base.open = pgoutput_open;
	d->base.next = pgoutput_next;
	d->base.forget_tables = pgoutput_forget_tables;
	d->base.free = pgoutput_free;
	d->complete = complete;
	d->ctx = ctx;
	*out = &d->base;
	return PST_OK;
}
