/* plugin_relations.c - what the output plugin knows of tables. See plugin_relations.h. */
#include "plugin_relations.h"

#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "mb/pg_wchar.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/*
 * When so many are known all are forgotten: a database can have more tables than memory. Indexes are
 * taken by turns out of twice as many, so that those of one record differ.
 */
#define RELATIONS_MAX (CHANGE_RELATIONS_MAX / 2)

struct plugin_relations
{
	const plugin_options *options; /* borrowed */
	HTAB *entries;
	MemoryContext memory;		/* of this */
	MemoryContext entry_memory; /* of entries and all in them; emptied to forget them */
	uint32 next_index;
	uint64 invalidations; /* that have come so far */
	MemoryContextCallback forget;
};

/* Callbacks cannot be taken back, so that there is one of each kind in a session, for whoever is at work. */
static plugin_relations *at_work;

/* ---- Invalidation ---- */

static void
invalidate_relation(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	plugin_relation *entry;

	if (at_work == NULL)
		return;
	at_work->invalidations++;
	hash_seq_init(&scan, at_work->entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relid) || entry->leaf == relid || entry->named == relid)
			entry->valid = false;
}

/* A schema or a type was renamed, or the like. */
static void
invalidate_all(Datum arg, int cacheid, uint32 hash)
{
	invalidate_relation((Datum) 0, InvalidOid);
}

static void
make_entries(plugin_relations *relations)
{
	HASHCTL control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(plugin_relation);
	control.hcxt = relations->entry_memory;
	relations->entries =
		hash_create("penstock relations", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The session may go on after decoding: by an error, or because a function did it. */
static void
forget(void *arg)
{
	if (at_work == arg)
		at_work = NULL;
}

plugin_relations *
plugin_relations_new(const plugin_options *options)
{
	static bool registered;
	plugin_relations *relations = palloc0(sizeof(*relations));

	relations->options = options;
	relations->memory = CurrentMemoryContext;
	relations->entry_memory =
		AllocSetContextCreate(relations->memory, "penstock relations", ALLOCSET_DEFAULT_SIZES);
	make_entries(relations);
	if (!registered)
	{
		CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_all, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, invalidate_all, (Datum) 0);
		registered = true;
	}
	relations->forget.func = forget;
	relations->forget.arg = relations;
	MemoryContextRegisterResetCallback(relations->memory, &relations->forget);
	at_work = relations;
	return relations;
}

/* ---- Columns ---- */

static int
attribute_of(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return i + 1;
	}
	return 0;
}

/* Whether its values are stored, and wanted. */
static bool
wants_column(const plugin_relations *relations, const plugin_relation *entry,
			 Form_pg_attribute attribute, bool identity)
{
	const char *name = NameStr(attribute->attname);

	if (attribute->attisdropped ||
		(attribute->attgenerated != '\0' && attribute->attgenerated != ATTRIBUTE_GENERATED_STORED))
		return false;
	if (plugin_options_column(relations->options, entry->schema, entry->table, name))
		return true;
	if (identity && entry->identity != REPLICA_IDENTITY_FULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of \"%s.%s\" is left out, but is of its replica identity",
						name, entry->schema, entry->table),
				 errhint("Take it into option columns, or out of exclude_columns.")));
	return false;
}

static void
put_text(StringInfo out, const char *text)
{
	const char *utf8 = pg_server_to_any(text, (int) strlen(text), PG_UTF8);
	uint16 len = (uint16) Min(strlen(utf8), PG_UINT16_MAX);
	uint16 bytes = pg_hton16(len);

	appendBinaryStringInfo(out, (const char *) &bytes, 2);
	appendBinaryStringInfo(out, utf8, len);
}

static void
put32(StringInfo out, uint32 value)
{
	value = pg_hton32(value);
	appendBinaryStringInfo(out, (const char *) &value, 4);
}

static void
describe_column(Form_pg_attribute attribute, const plugin_column *column, bool primary,
				StringInfo out)
{
	int32 typmod = attribute->atttypmod;
	Oid base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	int flags = (column->identity ? CHANGE_COLUMN_IDENTITY : 0) |
				(primary ? CHANGE_COLUMN_PRIMARY : 0) |
				(attribute->attnotnull ? CHANGE_COLUMN_NOT_NULL : 0) |
				(attribute->attgenerated != '\0' ? CHANGE_COLUMN_GENERATED : 0);

	appendStringInfoChar(out, change_type_is_binary(&column->type) ? CHANGE_BINARY : CHANGE_TEXT);
	appendStringInfoChar(out, (char) flags);
	put32(out, attribute->atttypid);
	put32(out, base);
	put32(out, column->type.elem_base);
	put32(out, (uint32) typmod);
	put_text(out, column->name);
	put_text(out, format_type_extended(attribute->atttypid, attribute->atttypmod,
									   FORMAT_TYPE_TYPEMOD_GIVEN));
}

static void
make_columns(const plugin_relations *relations, plugin_relation *entry, Relation leaf,
			 Relation named)
{
	TupleDesc tupdesc = RelationGetDescr(named);
	Bitmapset *identity = RelationGetIdentityKeyBitmap(leaf);
	Bitmapset *primary = RelationGetIndexAttrBitmap(leaf, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	entry->columns = palloc0(sizeof(plugin_column) * (Size) Max(tupdesc->natts, 1));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		plugin_column *column = &entry->columns[entry->ncolumns];
		int place;

		if (attribute->attisdropped)
			continue;
		column->name = pstrdup(NameStr(attribute->attname));
		column->attribute =
			leaf == named ? i + 1 : attribute_of(RelationGetDescr(leaf), column->name);
		if (column->attribute == 0)
			continue; /* of a table that is being attached or detached */
		place = column->attribute - FirstLowInvalidHeapAttributeNumber;
		column->identity =
			entry->identity == REPLICA_IDENTITY_FULL || bms_is_member(place, identity);
		if (!wants_column(relations, entry, attribute, column->identity))
			continue;
		change_type_choose(&column->type, attribute->atttypid);
		entry->pinned |= column->type.pinned;
		describe_column(attribute, column, bms_is_member(place, primary), &entry->description);
		entry->ncolumns++;
	}
}

/* ---- Entries ---- */

/* The table that rows of a leaf are sent under. */
static Oid
name_of(const plugin_relations *relations, Relation leaf)
{
	List *ancestors;

	if (!relations->options->as_root || !leaf->rd_rel->relispartition)
		return RelationGetRelid(leaf);
	ancestors = get_partition_ancestors(RelationGetRelid(leaf));
	return ancestors == NIL ? RelationGetRelid(leaf) : llast_oid(ancestors);
}

static void
fill(const plugin_relations *relations, plugin_relation *entry, Relation leaf, Relation named)
{
	const Form_pg_class class = named->rd_rel;
	const char *schema = get_namespace_name(class->relnamespace);

	entry->schema = pstrdup(schema != NULL ? schema : "");
	entry->table = pstrdup(NameStr(class->relname));
	entry->captured = plugin_options_capture(relations->options, entry->schema, entry->table);
	if (!entry->captured)
		return;
	entry->identity = leaf->rd_rel->relreplident;
	initStringInfo(&entry->description);
	put32(&entry->description, entry->named);
	put32(&entry->description, entry->leaf);
	put32(&entry->description, leaf->rd_rel->relfilenode);
	appendStringInfoChar(&entry->description, class->relkind);
	appendStringInfoChar(&entry->description, entry->identity);
	put_text(&entry->description, entry->schema);
	put_text(&entry->description, entry->table);
	make_columns(relations, entry, leaf, named);
	entry->nattributes = RelationGetNumberOfAttributes(leaf);
	for (int i = 0; i < 2; i++)
	{
		entry->values[i] = palloc(sizeof(Datum) * (Size) Max(entry->nattributes, 1));
		entry->nulls[i] = palloc(sizeof(bool) * (Size) Max(entry->nattributes, 1));
	}
}

/* Makes an entry, or makes it anew; the consumer is told when it differs. */
static void
make_entry(plugin_relations *relations, plugin_relation *entry, Relation leaf)
{
	plugin_relation made = {.leaf = entry->leaf, .index = entry->index};
	uint64 invalidations = relations->invalidations;
	MemoryContext caller;
	Relation named = leaf;

	made.memory =
		AllocSetContextCreate(relations->entry_memory, "penstock relation", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(made.memory);
	made.named = name_of(relations, leaf);
	if (made.named != made.leaf)
	{
		named = RelationIdGetRelation(made.named);
		if (!RelationIsValid(named))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("relation with OID %u, a partitioned table, is not there",
								   made.named)));
	}
	fill(relations, &made, leaf, named);
	if (named != leaf)
		RelationClose(named);
	MemoryContextSwitchTo(caller);
	made.described =
		entry->described && entry->captured && made.captured &&
		entry->description.len == made.description.len &&
		memcmp(entry->description.data, made.description.data, (Size) made.description.len) == 0;
	made.valid = invalidations == relations->invalidations;
	if (entry->memory != NULL)
		MemoryContextDelete(entry->memory);
	*entry = made;
}

plugin_relation *
plugin_relations_get(plugin_relations *relations, Relation relation)
{
	Oid leaf = RelationGetRelid(relation);
	plugin_relation *entry = hash_search(relations->entries, &leaf, HASH_FIND, NULL);

	if (likely(entry != NULL && entry->valid))
		return entry;
	if (entry == NULL)
	{
		if (hash_get_num_entries(relations->entries) >= RELATIONS_MAX)
		{
			MemoryContextReset(relations->entry_memory);
			make_entries(relations);
		}
		entry = hash_search(relations->entries, &leaf, HASH_ENTER, NULL);
		memset(entry, 0, sizeof(*entry));
		entry->leaf = leaf;
		entry->index = relations->next_index++ % CHANGE_RELATIONS_MAX;
	}
	make_entry(relations, entry, relation);
	return entry;
}
