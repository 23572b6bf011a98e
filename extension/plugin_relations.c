/* plugin_relations.c - what the output plugin knows of tables. See plugin_relations.h. */
#include "plugin_relations.h"

#include "access/htup_details.h"
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

#include "compat.h"

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
	bool any_valid;		  /* an entry may be */
	/* OIDs of relations that this transaction has altered, maybe, and others; NULL: none yet. */
	HTAB *altered;
	MemoryContext altered_memory;
	Oid *turning; /* the same at its end: those that were not looked at yet */
	long nturning;
	MemoryContextCallback forget;
};

/* Callbacks cannot be taken back, so that there is one of each kind in a session, for whoever is at work. */
static plugin_relations *at_work;

/* ---- Invalidation ---- */

static void
invalidate(plugin_relations *relations, Oid relid)
{
	HASH_SEQ_STATUS scan;
	plugin_relation *entry;

	relations->invalidations++;
	if (relations->entries == NULL || !relations->any_valid)
		return;
	if (OidIsValid(relid) && !relations->options->as_root)
	{
		entry = hash_search(relations->entries, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}
	relations->any_valid = OidIsValid(relid);
	hash_seq_init(&scan, relations->entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relid) || entry->leaf == relid || entry->named == relid)
			entry->valid = false;
}

static void
invalidate_relation(Datum arg, Oid relid)
{
	plugin_relations *relations = at_work;
	HASHCTL control = {0};

	if (relations == NULL)
		return;
	invalidate(relations, relid);
	if (!OidIsValid(relid))
		return;
	if (relations->altered == NULL)
	{
		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(Oid);
		control.hcxt = relations->altered_memory;
		relations->altered =
			hash_create("penstock altered", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(relations->altered, &relid, HASH_ENTER, NULL);
}

/* A schema or a type was renamed, or the like. */
static void
invalidate_all(Datum arg, int cacheid, uint32 hash)
{
	if (at_work != NULL)
		invalidate(at_work, InvalidOid);
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
	relations->altered_memory =
		AllocSetContextCreate(relations->memory, "penstock altered", ALLOCSET_DEFAULT_SIZES);
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

/* Attribute numbers of an index's key. */
static Bitmapset *
key_of(Oid index)
{
	Bitmapset *key = NULL;
	Relation relation = OidIsValid(index) ? RelationIdGetRelation(index) : NULL;

	/*
	 * Not by RelationGetIndexAttrBitmap: it evaluates the expressions of all indexes, for which there is
	 * no snapshot here.
	 */
	if (!RelationIsValid(relation))
		return NULL;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(relation); i++)
		key = bms_add_member(key, relation->rd_index->indkey.values[i]);
	RelationClose(relation);
	return key;
}

static void
describe_column(Form_pg_attribute attribute, const plugin_column *column, bool primary,
				bool missing, StringInfo out)
{
	int32 typmod = attribute->atttypmod;
	Oid base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	int flags = (column->identity ? CHANGE_COLUMN_IDENTITY : 0) |
				(primary ? CHANGE_COLUMN_PRIMARY : 0) |
				(attribute->attnotnull ? CHANGE_COLUMN_NOT_NULL : 0) |
				(attribute->attgenerated != '\0' ? CHANGE_COLUMN_GENERATED : 0) |
				(missing ? CHANGE_COLUMN_MISSING : 0);

	/* A typmod of an array is its elements'; they can be of a domain that has one. */
	if (OidIsValid(column->type.elem_base) && typmod == -1)
		(void) getBaseTypeAndTypmod(column->type.elem, &typmod);
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
			 Relation named, StringInfo description)
{
	TupleDesc tupdesc = RelationGetDescr(named);
	Bitmapset *identity = key_of(RelationGetReplicaIndex(leaf));
	Bitmapset *primary = key_of(primary_key_index(leaf));

	entry->columns = MemoryContextAllocZero(entry->memory,
											sizeof(plugin_column) * (Size) Max(tupdesc->natts, 1));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		plugin_column *column = &entry->columns[entry->ncolumns];
		MemoryContext caller;

		if (attribute->attisdropped)
			continue;
		column->name = MemoryContextStrdup(entry->memory, NameStr(attribute->attname));
		column->attribute =
			leaf == named ? i + 1 : attribute_of(RelationGetDescr(leaf), column->name);
		if (column->attribute == 0)
			continue; /* of a table that is being attached or detached */
		column->identity =
			entry->identity == REPLICA_IDENTITY_FULL || bms_is_member(column->attribute, identity);
		if (!wants_column(relations, entry, attribute, column->identity))
			continue;
		caller = MemoryContextSwitchTo(entry->memory);
		change_type_choose(&column->type, attribute->atttypid);
		MemoryContextSwitchTo(caller);
		entry->pinned |= column->type.pinned;
		describe_column(attribute, column, bms_is_member(column->attribute, primary),
						TupleDescAttr(RelationGetDescr(leaf), column->attribute - 1)->atthasmissing,
						description);
		entry->ncolumns++;
	}
}

/* ---- Entries ---- */

/* The table that rows of a leaf are sent under. */
static Oid
name_of(const plugin_relations *relations, Oid leaf, const Form_pg_class class)
{
	List *ancestors;

	if (!relations->options->as_root || !class->relispartition)
		return leaf;
	ancestors = get_partition_ancestors(leaf);
	return ancestors == NIL ? leaf : llast_oid(ancestors);
}

static void
fill(const plugin_relations *relations, plugin_relation *entry, Relation leaf, Relation named,
	 char persistence)
{
	const Form_pg_class class = named->rd_rel;
	const char *schema = get_namespace_name(class->relnamespace);
	StringInfoData description;

	entry->schema = MemoryContextStrdup(entry->memory, schema != NULL ? schema : "");
	entry->table = MemoryContextStrdup(entry->memory, NameStr(class->relname));
	/* A materialized view's rows are in the WAL too, but what it shows are other tables. */
	entry->captured =
		(class->relkind == RELKIND_RELATION || class->relkind == RELKIND_PARTITIONED_TABLE) &&
		plugin_options_capture(relations->options, entry->schema, entry->table);
	if (!entry->captured)
		return;
	entry->identity = leaf->rd_rel->relreplident;
	entry->persistence = persistence;
	initStringInfo(&description);
	put32(&description, entry->named);
	put32(&description, entry->leaf);
	put32(&description, leaf->rd_rel->relfilenode);
	appendStringInfoChar(&description, class->relkind);
	appendStringInfoChar(&description, entry->identity);
	appendStringInfoChar(&description, entry->persistence);
	put_text(&description, entry->schema);
	put_text(&description, entry->table);
	make_columns(relations, entry, leaf, named, &description);
	entry->ndescription = description.len;
	entry->description = MemoryContextAlloc(entry->memory, (Size) description.len);
	memcpy(entry->description, description.data, (Size) description.len);
	entry->nattributes = RelationGetNumberOfAttributes(leaf);
	for (int i = 0; i < 2; i++)
	{
		entry->values[i] =
			MemoryContextAlloc(entry->memory, sizeof(Datum) * (Size) Max(entry->nattributes, 1));
		entry->nulls[i] =
			MemoryContextAlloc(entry->memory, sizeof(bool) * (Size) Max(entry->nattributes, 1));
	}
}

/* Makes an entry, or makes it anew; the consumer is told when it differs. */
static void
make_entry(plugin_relations *relations, plugin_relation *entry, Relation leaf, char persistence)
{
	plugin_relation made = {.leaf = entry->leaf, .index = entry->index};
	uint64 invalidations = relations->invalidations;
	Relation named = leaf;

	/* Of what stays; all that is needed to make it is of the caller's context. */
	made.memory =
		AllocSetContextCreate(relations->entry_memory, "penstock relation", ALLOCSET_SMALL_SIZES);
	made.named = name_of(relations, made.leaf, leaf->rd_rel);
	if (made.named != made.leaf)
	{
		named = RelationIdGetRelation(made.named);
		if (!RelationIsValid(named))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("relation with OID %u, a partitioned table, is not there",
								   made.named)));
	}
	fill(relations, &made, leaf, named, persistence);
	if (named != leaf)
		RelationClose(named);
	made.described = entry->described && entry->captured && made.captured &&
					 entry->ndescription == made.ndescription &&
					 memcmp(entry->description, made.description, (Size) made.ndescription) == 0;
	made.valid = invalidations == relations->invalidations;
	relations->any_valid = relations->any_valid || made.valid;
	if (entry->memory != NULL)
		MemoryContextDelete(entry->memory);
	*entry = made;
}

plugin_relation *
plugin_relations_get(plugin_relations *relations, Relation relation, Relation heap)
{
	Oid leaf = RelationGetRelid(relation);
	char persistence = heap->rd_rel->relpersistence;
	plugin_relation *entry = hash_search(relations->entries, &leaf, HASH_FIND, NULL);

	/* The number of columns guards the memory of rows, should an invalidation ever not have come. */
	if (likely(
			entry != NULL && entry->valid &&
			(!entry->captured || (entry->nattributes == RelationGetNumberOfAttributes(relation) &&
								  entry->persistence == persistence))))
		return entry;
	if (entry == NULL)
	{
		if (hash_get_num_entries(relations->entries) >= RELATIONS_MAX)
		{
			relations->entries = NULL; /* should making new ones fail */
			MemoryContextReset(relations->entry_memory);
			make_entries(relations);
		}
		entry = hash_search(relations->entries, &leaf, HASH_ENTER, NULL);
		memset(entry, 0, sizeof(*entry));
		entry->leaf = leaf;
		entry->index = relations->next_index++ % CHANGE_RELATIONS_MAX;
	}
	make_entry(relations, entry, relation, persistence);
	return entry;
}

/* ---- Tables that a transaction has altered ---- */

void
plugin_relations_begin(plugin_relations *relations)
{
	relations->turning = NULL;
	if (relations->altered == NULL)
		return;
	relations->altered = NULL;
	MemoryContextReset(relations->altered_memory);
}

static int
compare_oids(const void *a, const void *b)
{
	Oid x = *(const Oid *) a;
	Oid y = *(const Oid *) b;

	return x < y ? -1 : x > y;
}

/* In the order of their OIDs, since looking at one may note more, which have not changed. */
static void
list_altered(plugin_relations *relations)
{
	HASH_SEQ_STATUS scan;
	const Oid *relid;

	relations->turning = MemoryContextAllocHuge(
		relations->altered_memory, sizeof(Oid) * (Size) hash_get_num_entries(relations->altered));
	relations->nturning = 0;
	hash_seq_init(&scan, relations->altered);
	while ((relid = hash_seq_search(&scan)) != NULL)
		relations->turning[relations->nturning++] = *relid;
	qsort(relations->turning, (size_t) relations->nturning, sizeof(Oid), compare_oids);
}

/* Whether the consumer's idea of it is wrong: its rows' way into the stream, or the table that they are under. */
static bool
has_turned(const plugin_relations *relations, Oid relid)
{
	const plugin_relation *entry = hash_search(relations->entries, &relid, HASH_FIND, NULL);
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool known = entry != NULL && entry->captured && entry->described;
	bool turned = false;
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		return false;
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (class->relkind == RELKIND_RELATION && !OidIsValid(class->relrewrite) &&
		class->relpersistence != RELPERSISTENCE_TEMP)
	{
		turned = class->relpersistence != (known ? entry->persistence : RELPERSISTENCE_PERMANENT);
		if (relations->options->as_root)
			turned = turned || (known ? entry->named != name_of(relations, relid, class)
									  : class->relispartition);
	}
	ReleaseSysCache(tuple);
	return turned;
}

plugin_relation *
plugin_relations_altered(plugin_relations *relations)
{
	if (relations->altered == NULL)
		return NULL;
	if (relations->turning == NULL)
		list_altered(relations);
	while (relations->nturning > 0)
	{
		Oid relid = relations->turning[--relations->nturning];
		plugin_relation *entry;
		Relation relation;

		if (!has_turned(relations, relid))
			continue;
		relation = RelationIdGetRelation(relid);
		if (!RelationIsValid(relation))
			continue;
		entry = plugin_relations_get(relations, relation, relation);
		RelationClose(relation);
		if (entry->captured && !entry->described)
			return entry;
	}
	return NULL;
}
